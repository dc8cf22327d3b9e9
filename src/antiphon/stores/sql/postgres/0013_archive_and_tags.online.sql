DROP INDEX CONCURRENTLY IF EXISTS archived_threads;

DROP INDEX CONCURRENTLY IF EXISTS tagged_threads;

-- Archived and tagged threads are few among all threads, and are asked for apart. No text in a document
-- can hold these bytes: its quotation marks are escaped.
CREATE INDEX CONCURRENTLY archived_threads ON threads (owner, seq)
    WHERE position('"archived":true'::bytea IN doc) > 0;

CREATE INDEX CONCURRENTLY tagged_threads ON threads (owner, seq)
    WHERE position('"tags":["'::bytea IN doc) > 0;
