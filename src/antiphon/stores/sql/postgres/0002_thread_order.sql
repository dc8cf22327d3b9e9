-- Threads in the order of their last activity, and by family: the threads that stand in each
-- other's place. The first three columns are computed, so that they are right whichever version
-- has written the thread. JSON of PostgreSQL takes no NUL, which the document may hold.
CREATE FUNCTION thread_document(doc BYTEA) RETURNS JSON LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN position('\x5c7530303030'::bytea IN doc) = 0 THEN convert_from(doc, 'UTF8')
    ELSE regexp_replace(convert_from(doc, 'UTF8'), '(?<!\\)((?:\\\\)*)\\u0000', '\1', 'g')
END::json;

ALTER TABLE threads
    ADD COLUMN updated_at BIGINT
    GENERATED ALWAYS AS ((thread_document(doc) ->> 'updated_at')::bigint) STORED,
    ADD COLUMN has_messages BOOLEAN
    GENERATED ALWAYS AS ((thread_document(doc) ->> 'messages')::integer > 0) STORED,
    ADD COLUMN replaces TEXT COLLATE "C"
    GENERATED ALWAYS AS (thread_document(doc) -> 'metadata' ->> 'replaces') STORED,
    ADD COLUMN family TEXT COLLATE "C";

-- `family` is the id of the first thread of the family, which may have been deleted; NULL in that
-- thread itself, and in threads that replace none. Each branch gets that of the thread that it
-- replaces, from the first ones down.
CREATE TEMPORARY TABLE branches AS
SELECT id, owner, replaces FROM threads WHERE replaces IS NOT NULL;

CREATE INDEX ON branches (id);

CREATE INDEX ON branches (replaces);

ANALYZE branches;

WITH RECURSIVE found (id, owner, family) AS (
    SELECT id, owner, replaces
    FROM branches
    WHERE NOT EXISTS (
        SELECT 1 FROM branches AS above
        WHERE above.id = branches.replaces AND above.owner = branches.owner
    )
    UNION ALL
    SELECT branches.id, branches.owner, found.family
    FROM found
    JOIN branches ON branches.replaces = found.id AND branches.owner = found.owner
)
UPDATE threads SET family = found.family FROM found WHERE found.id = threads.id;

DROP TABLE branches;

CREATE INDEX threads_by_activity ON threads (owner, updated_at, id);

CREATE INDEX threads_of_family ON threads (owner, coalesce(family, id), updated_at, id);

-- Older versions, which may be at work beside this one, do not know the column.
CREATE FUNCTION join_family() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE replaced text := thread_document(NEW.doc) -> 'metadata' ->> 'replaces'; BEGIN
    NEW.family := coalesce(
        (
            SELECT coalesce(above.family, above.id) FROM threads AS above
            WHERE above.id = replaced AND above.owner = NEW.owner
        ),
        replaced
    ); RETURN NEW; END $$;

CREATE TRIGGER thread_added BEFORE INSERT ON threads
FOR EACH ROW
WHEN (NEW.family IS NULL AND thread_document(NEW.doc) -> 'metadata' ->> 'replaces' IS NOT NULL)
EXECUTE FUNCTION join_family();

CREATE TRIGGER thread_replaces BEFORE UPDATE OF doc ON threads
FOR EACH ROW
WHEN (thread_document(NEW.doc) -> 'metadata' ->> 'replaces' IS DISTINCT FROM OLD.replaces)
EXECUTE FUNCTION join_family();

ANALYZE threads;
