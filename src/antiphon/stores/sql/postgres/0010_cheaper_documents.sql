-- The function is asked some times for each thread that is written. In SQL it was planned each time,
-- as `convert_from` is not immutable; in PL/pgSQL it is planned once for each connection.
CREATE OR REPLACE FUNCTION thread_document(doc BYTEA) RETURNS JSON LANGUAGE plpgsql IMMUTABLE
PARALLEL SAFE AS $$ BEGIN RETURN CASE
    WHEN position('\x5c7530303030'::bytea IN doc) = 0 THEN convert_from(doc, 'UTF8')
    ELSE regexp_replace(convert_from(doc, 'UTF8'), '(?<!\\)((?:\\\\)*)\\u0000', '\1', 'g')
END::json; END $$;

-- One trigger in place of three: the condition of a trigger is read from the catalogue by every
-- statement. Most documents do not have the word, and are not taken apart.
CREATE FUNCTION complete_thread() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE replaced text := CASE
    WHEN position('"replaces"'::bytea IN NEW.doc) > 0
    THEN thread_document(NEW.doc) -> 'metadata' ->> 'replaces'
END; BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.family IS NOT NULL OR replaced IS NULL THEN RETURN NEW; END IF; ELSE
        IF NEW.words <> OLD.words AND NEW.search IS NOT DISTINCT FROM OLD.search
        THEN NEW.search := NULL; END IF; IF replaced IS NOT DISTINCT FROM OLD.replaces
        THEN RETURN NEW; END IF; END IF; NEW.family := coalesce(
        (
            SELECT coalesce(above.family, above.id) FROM threads AS above
            WHERE above.id = replaced AND above.owner = NEW.owner
        ),
        replaced
    ); RETURN NEW; END $$;

DROP TRIGGER thread_added ON threads;

DROP TRIGGER thread_replaces ON threads;

DROP TRIGGER title_changed ON threads;

CREATE TRIGGER thread_written BEFORE INSERT OR UPDATE ON threads
FOR EACH ROW EXECUTE FUNCTION complete_thread();

DROP FUNCTION join_family;

DROP FUNCTION forget_title;
