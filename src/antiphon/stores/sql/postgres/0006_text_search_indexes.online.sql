DROP INDEX CONCURRENTLY IF EXISTS messages_by_words;

DROP INDEX CONCURRENTLY IF EXISTS threads_by_words;

DROP INDEX CONCURRENTLY IF EXISTS messages_not_indexed;

DROP INDEX CONCURRENTLY IF EXISTS threads_not_indexed;

-- Each search reads the whole list of what is not in the index proper yet: kB of it.
CREATE INDEX CONCURRENTLY messages_by_words ON messages USING gin (search)
    WITH (gin_pending_list_limit = 256) WHERE search IS NOT NULL;

CREATE INDEX CONCURRENTLY threads_by_words ON threads USING gin (search)
    WITH (gin_pending_list_limit = 64) WHERE search IS NOT NULL;

CREATE INDEX CONCURRENTLY messages_not_indexed ON messages (seq) WHERE search IS NULL;

CREATE INDEX CONCURRENTLY threads_not_indexed ON threads (seq) WHERE search IS NULL;
