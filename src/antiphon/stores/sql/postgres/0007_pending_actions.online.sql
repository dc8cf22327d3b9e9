DROP INDEX CONCURRENTLY IF EXISTS pending_actions;

-- Calls that wait are few among all calls, and are asked for without their run.
CREATE INDEX CONCURRENTLY pending_actions ON actions (seq) WHERE status = 'pending';

DROP INDEX CONCURRENTLY IF EXISTS pinned_threads;

-- No text in a document can hold these bytes: its quotation marks are escaped.
CREATE INDEX CONCURRENTLY pinned_threads ON threads (owner, seq)
    WHERE position('"pinned":true'::bytea IN doc) > 0;
