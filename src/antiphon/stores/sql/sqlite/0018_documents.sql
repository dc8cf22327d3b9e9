-- State of the reading of each file's text. A pending file may be read from `due_at` on, and
-- while a process reads it, that is the end of its lease. `attempts` says which reading it is.
CREATE TABLE documents (
    upload_id TEXT PRIMARY KEY REFERENCES uploads (id) ON DELETE CASCADE,
    status TEXT NOT NULL,
    due_at INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    pages INTEGER NOT NULL DEFAULT 0,
    cut INTEGER NOT NULL DEFAULT FALSE,
    reason TEXT
) STRICT;

CREATE INDEX pending_documents ON documents (due_at) WHERE status = 'pending';

CREATE INDEX failed_documents ON documents (reason) WHERE status = 'failed';

-- Text of files, page by page. It is made from the files, and not copied with a database.
CREATE TABLE pages (
    seq INTEGER PRIMARY KEY,
    upload_id TEXT NOT NULL REFERENCES uploads (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    title TEXT NOT NULL,
    content TEXT NOT NULL,
    UNIQUE (upload_id, number)
) STRICT;

-- As `message_index`; `file` is the id of the upload in hexadecimal digits.
CREATE VIRTUAL TABLE page_index USING fts5(owner, file, words, tokenize = 'ascii');

CREATE TRIGGER page_removed AFTER DELETE ON pages
BEGIN DELETE FROM page_index WHERE rowid = OLD.seq; END;

-- Files of any version, of an import and of a copied database are read.
CREATE TRIGGER upload_added AFTER INSERT ON uploads
BEGIN INSERT INTO documents (upload_id, status) VALUES (NEW.id, 'pending'); END;

CREATE TRIGGER upload_transferred AFTER UPDATE OF owner ON uploads
WHEN NEW.owner <> OLD.owner
BEGIN
    UPDATE page_index SET owner = hex(NEW.owner)
    WHERE rowid IN (SELECT seq FROM pages WHERE upload_id = NEW.id); END;

INSERT INTO documents (upload_id, status) SELECT id, 'pending' FROM uploads;
