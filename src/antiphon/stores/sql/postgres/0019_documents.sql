-- State of the reading of each file's text. A pending file may be read from `due_at` on, and
-- while a process reads it, that is the end of its lease. `attempts` says which reading it is.
CREATE TABLE documents (
    upload_id TEXT COLLATE "C" PRIMARY KEY REFERENCES uploads (id) ON DELETE CASCADE,
    status TEXT COLLATE "C" NOT NULL,
    due_at BIGINT NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    pages INTEGER NOT NULL DEFAULT 0,
    cut BOOLEAN NOT NULL DEFAULT FALSE,
    reason TEXT COLLATE "C"
);

CREATE INDEX pending_documents ON documents (due_at) WHERE status = 'pending';
CREATE INDEX failed_documents ON documents (reason) WHERE status = 'failed';

-- Text of files, page by page, and its words, with one for the owner and one for the file. It is made
-- from the files, and not copied with a database.
CREATE TABLE pages (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    upload_id TEXT COLLATE "C" NOT NULL REFERENCES uploads (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    title TEXT NOT NULL,
    content TEXT NOT NULL,
    search TSVECTOR NOT NULL,
    CONSTRAINT pages_number UNIQUE (upload_id, number)
);

CREATE INDEX pages_by_words ON pages USING gin (search) WITH (gin_pending_list_limit = 256);

-- Files of any version, of an import and of a copied database are read.
CREATE FUNCTION add_document() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO documents (upload_id, status) VALUES (NEW.id, 'pending'); RETURN NULL; END $$;

CREATE TRIGGER upload_added AFTER INSERT ON uploads
FOR EACH ROW EXECUTE FUNCTION add_document();

CREATE FUNCTION transfer_pages() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE pages SET search =
        ts_delete(search, '@' || encode(convert_to(OLD.owner, 'UTF8'), 'hex'))
        || ('''@' || encode(convert_to(NEW.owner, 'UTF8'), 'hex') || '''')::tsvector
    WHERE upload_id = NEW.id; RETURN NULL; END $$;

CREATE TRIGGER upload_transferred AFTER UPDATE OF owner ON uploads
FOR EACH ROW
WHEN (NEW.owner <> OLD.owner)
EXECUTE FUNCTION transfer_pages();

INSERT INTO documents (upload_id, status) SELECT id, 'pending' FROM uploads;
