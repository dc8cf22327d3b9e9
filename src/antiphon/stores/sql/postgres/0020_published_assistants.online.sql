DROP INDEX CONCURRENTLY IF EXISTS published_assistants;

-- Published assistants are few among those of all owners, and everyone lists them.
CREATE INDEX CONCURRENTLY published_assistants ON assistants (seq)
    WHERE (thread_document(doc) ->> 'published_at') IS NOT NULL;
