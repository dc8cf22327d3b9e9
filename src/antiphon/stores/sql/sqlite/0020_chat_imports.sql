-- Imports of other chats' exports, and the uploaded files in pieces, as long as they are needed.
CREATE TABLE chat_imports (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    active INTEGER NOT NULL,
    doc BLOB NOT NULL
) STRICT;

CREATE INDEX chat_imports_of_owner ON chat_imports (owner, seq);
CREATE INDEX active_chat_imports ON chat_imports (seq) WHERE active;

CREATE TABLE import_pieces (
    import_id TEXT NOT NULL REFERENCES chat_imports (id) ON DELETE CASCADE,
    place INTEGER NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (import_id, place)
) STRICT;
