-- Three columns of threads were computed from the document by the database, each time a thread was
-- written: a tenth of what a turn costs it. They are written with the document from now on. Where
-- they are not, as by the version before, which may be at work beside this one, by an import, or by a
-- copy, the trigger computes them. The rows stay as they are: this takes no longer the more there are.
ALTER TABLE threads
    ALTER COLUMN updated_at DROP EXPRESSION,
    ALTER COLUMN has_messages DROP EXPRESSION,
    ALTER COLUMN replaces DROP EXPRESSION;

CREATE OR REPLACE FUNCTION complete_thread() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE document json; BEGIN
    IF TG_OP = 'INSERT' OR NEW.doc <> OLD.doc THEN
        document := thread_document(NEW.doc); NEW.updated_at := document ->> 'updated_at'
        ; NEW.has_messages := (document ->> 'messages')::integer > 0
        ; NEW.replaces := document -> 'metadata' ->> 'replaces'
        ; END IF
    ; IF TG_OP = 'INSERT' THEN
        IF NEW.family IS NOT NULL OR NEW.replaces IS NULL THEN RETURN NEW; END IF; ELSE
        IF NEW.words <> OLD.words AND NEW.search IS NOT DISTINCT FROM OLD.search
        THEN NEW.search := NULL; END IF; IF NEW.replaces IS NOT DISTINCT FROM OLD.replaces
        THEN RETURN NEW; END IF; END IF; NEW.family := coalesce(
        (
            SELECT coalesce(above.family, above.id) FROM threads AS above
            WHERE above.id = NEW.replaces AND above.owner = NEW.owner
        ),
        NEW.replaces
    ); RETURN NEW; END $$;

DROP TRIGGER thread_written ON threads;

CREATE TRIGGER thread_added BEFORE INSERT ON threads FOR EACH ROW
WHEN (NEW.updated_at IS NULL OR NEW.replaces IS NOT NULL)
EXECUTE FUNCTION complete_thread();

-- A document that is written without its time has the time of the one before.
CREATE TRIGGER thread_changed BEFORE UPDATE ON threads FOR EACH ROW
WHEN (
    NEW.doc <> OLD.doc AND (
        NEW.updated_at IS NOT DISTINCT FROM OLD.updated_at
        OR NEW.replaces IS DISTINCT FROM OLD.replaces
    )
    OR NEW.words <> OLD.words AND NEW.search IS NOT DISTINCT FROM OLD.search
)
EXECUTE FUNCTION complete_thread();
