-- Folders of threads. Threads name theirs in their documents.
CREATE TABLE folders (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    doc BLOB NOT NULL
) STRICT;

CREATE INDEX folders_of_owner ON folders (owner, seq);

-- The threads of a folder are found at once. No text in a document can hold these bytes: its
-- quotation marks are escaped.
CREATE INDEX threads_of_folder ON threads (
    owner, json_extract(CAST(doc AS TEXT), '$.folder_id'), seq
) WHERE instr(doc, CAST('"folder_id":"' AS BLOB)) > 0;
