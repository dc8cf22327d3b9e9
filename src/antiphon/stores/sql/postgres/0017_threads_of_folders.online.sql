DROP INDEX CONCURRENTLY IF EXISTS threads_of_folder;

-- The threads of a folder are found at once. No text in a document can hold these bytes: its
-- quotation marks are escaped.
CREATE INDEX CONCURRENTLY threads_of_folder ON threads (
    owner, (thread_document(doc) ->> 'folder_id'), seq
) WHERE position('"folder_id":"'::bytea IN doc) > 0;
