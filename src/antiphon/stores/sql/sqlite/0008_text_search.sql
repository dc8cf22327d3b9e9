-- Words of messages and of titles, by which they are found. `rowid` is the `seq` of the message or of
-- the thread, `owner` the owner's name in hexadecimal digits, which is one word: an owner's search
-- reads nothing of others. Words are as `text_search` makes them, separated by spaces.
CREATE VIRTUAL TABLE message_index USING fts5(owner, words, tokenize = 'ascii');
CREATE VIRTUAL TABLE title_index USING fts5(owner, words, tokenize = 'ascii');

-- Messages whose words in the index are missing or wrong, or to be removed if they are `gone`: an
-- index forgets slowly. Whoever searches joins the messages, and finds none that is gone.
CREATE TABLE reindex (
    seq INTEGER PRIMARY KEY,
    gone INTEGER NOT NULL
) STRICT;

CREATE INDEX removed_messages ON reindex (seq) WHERE gone;

INSERT INTO reindex (seq, gone) SELECT seq, FALSE FROM messages;

-- Messages of this version have their words in the index; `words` is written by the version before.
CREATE TRIGGER message_not_indexed AFTER INSERT ON messages
WHEN NEW.words <> ''
BEGIN
    INSERT INTO reindex (seq, gone) VALUES (NEW.seq, FALSE)
    ON CONFLICT (seq) DO UPDATE SET gone = FALSE; END;

CREATE TRIGGER message_removed AFTER DELETE ON messages
BEGIN
    INSERT INTO reindex (seq, gone) VALUES (OLD.seq, TRUE)
    ON CONFLICT (seq) DO UPDATE SET gone = TRUE; END;

CREATE TRIGGER thread_transferred AFTER UPDATE OF owner ON threads
WHEN NEW.owner <> OLD.owner
BEGIN
    INSERT INTO reindex (seq, gone)
    SELECT seq, FALSE FROM messages WHERE thread_id = NEW.id
    ON CONFLICT (seq) DO UPDATE SET gone = FALSE; END;

-- `index_words` is a function of this program, for this migration alone.
UPDATE threads SET words = index_words(words) WHERE words <> '';

INSERT INTO title_index (rowid, owner, words)
SELECT seq, hex(owner), words FROM threads WHERE words <> '';

CREATE TRIGGER title_added AFTER INSERT ON threads
WHEN NEW.words <> ''
BEGIN
    INSERT INTO title_index (rowid, owner, words) VALUES (NEW.seq, hex(NEW.owner), NEW.words); END;

CREATE TRIGGER title_changed AFTER UPDATE OF words, owner ON threads
WHEN NEW.words <> OLD.words OR NEW.owner <> OLD.owner
BEGIN
    DELETE FROM title_index WHERE rowid = OLD.seq; INSERT INTO title_index (rowid, owner, words)
    VALUES (NEW.seq, hex(NEW.owner), NEW.words); END;

CREATE TRIGGER title_removed AFTER DELETE ON threads
BEGIN DELETE FROM title_index WHERE rowid = OLD.seq; END;
