DROP INDEX CONCURRENTLY IF EXISTS temporary_threads;

-- Temporary threads are few, and are looked for by the hour to be deleted.
CREATE INDEX CONCURRENTLY temporary_threads ON threads (seq)
    WHERE position('"temporary":true'::bytea IN doc) > 0;
