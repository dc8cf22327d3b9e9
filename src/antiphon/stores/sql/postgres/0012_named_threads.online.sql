DROP INDEX CONCURRENTLY IF EXISTS threads_by_client_name;

DROP INDEX CONCURRENTLY IF EXISTS threads_by_openwebui_chat;

-- Pages and Open WebUI name their chats: the thread of a name is found at once.
CREATE INDEX CONCURRENTLY threads_by_client_name ON threads (
    owner, (thread_document(doc) -> 'metadata' ->> 'client_name'), seq
) WHERE position('"client_name":'::bytea IN doc) > 0;

CREATE INDEX CONCURRENTLY threads_by_openwebui_chat ON threads (
    owner, (thread_document(doc) -> 'metadata' ->> 'openwebui_chat'), seq
) WHERE position('"openwebui_chat":'::bytea IN doc) > 0;
