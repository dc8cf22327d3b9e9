-- Words of messages and of titles, by which they are found, as `text_search` makes them; the owner is
-- one of them, so that an owner's search reads nothing of others. NULL until the text is indexed. The
-- rows stay as they are: this takes no longer the more there are.
ALTER TABLE messages ADD COLUMN search TSVECTOR;

ALTER TABLE threads ADD COLUMN search TSVECTOR;

-- The version before, which may be at work beside this one, does not know the columns.
CREATE FUNCTION forget_title() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.search := NULL; RETURN NEW; END $$;

CREATE TRIGGER title_changed BEFORE UPDATE OF words ON threads
FOR EACH ROW
WHEN (NEW.words <> OLD.words AND NEW.search IS NOT DISTINCT FROM OLD.search)
EXECUTE FUNCTION forget_title();
