-- Threads in the order of their last activity, and by family: the threads that stand in each
-- other's place. The first three columns are computed, so that they are right whichever version
-- has written the thread.
ALTER TABLE threads ADD COLUMN updated_at INTEGER
    GENERATED ALWAYS AS (json_extract(CAST(doc AS TEXT), '$.updated_at')) VIRTUAL;
ALTER TABLE threads ADD COLUMN has_messages INTEGER
    GENERATED ALWAYS AS (json_extract(CAST(doc AS TEXT), '$.messages') > 0) VIRTUAL;
ALTER TABLE threads ADD COLUMN replaces TEXT
    GENERATED ALWAYS AS (json_extract(CAST(doc AS TEXT), '$.metadata.replaces')) VIRTUAL;

-- The id of the first thread of the family, which may have been deleted; NULL in that thread itself,
-- and in threads that replace none. Triggers write it, for older versions do not know it.
ALTER TABLE threads ADD COLUMN family TEXT;

CREATE INDEX threads_by_activity ON threads (owner, updated_at, id);
CREATE INDEX threads_of_family ON threads (owner, coalesce(family, id), updated_at, id);

-- Each branch gets the family of the thread that it replaces, from the first ones down.
CREATE TEMPORARY TABLE branches AS
SELECT id, owner, replaces FROM threads WHERE replaces IS NOT NULL;
CREATE INDEX temp.branches_by_id ON branches (id);
CREATE INDEX temp.branches_by_replaced ON branches (replaces);
CREATE TEMPORARY TABLE families (id TEXT PRIMARY KEY, family TEXT NOT NULL);
INSERT INTO families
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
SELECT id, family FROM found;
UPDATE threads SET family = families.family FROM families WHERE families.id = threads.id;
DROP TABLE temp.families;
DROP TABLE temp.branches;

CREATE TRIGGER thread_added AFTER INSERT ON threads
WHEN NEW.replaces IS NOT NULL AND NEW.family IS NULL
BEGIN
    UPDATE threads SET family = coalesce(
        (
            SELECT coalesce(above.family, above.id) FROM threads AS above
            WHERE above.id = NEW.replaces AND above.owner = NEW.owner
        ),
        NEW.replaces
    )
    WHERE seq = NEW.seq; END;

CREATE TRIGGER thread_replaces AFTER UPDATE OF doc ON threads
WHEN NEW.replaces IS NOT OLD.replaces
BEGIN
    UPDATE threads SET family = coalesce(
        (
            SELECT coalesce(above.family, above.id) FROM threads AS above
            WHERE above.id = NEW.replaces AND above.owner = NEW.owner
        ),
        NEW.replaces
    )
    WHERE seq = NEW.seq; END;
