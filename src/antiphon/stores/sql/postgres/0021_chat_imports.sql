-- Imports of other chats' exports, and the uploaded files in pieces, as long as they are needed.
CREATE TABLE chat_imports (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL CONSTRAINT chat_imports_id UNIQUE,
    owner TEXT COLLATE "C" NOT NULL,
    active BOOLEAN NOT NULL,
    doc BYTEA NOT NULL
);

CREATE INDEX chat_imports_of_owner ON chat_imports (owner, seq);
CREATE INDEX active_chat_imports ON chat_imports (seq) WHERE active;

CREATE TABLE import_pieces (
    import_id TEXT COLLATE "C" NOT NULL REFERENCES chat_imports (id) ON DELETE CASCADE,
    place BIGINT NOT NULL,
    content BYTEA NOT NULL,
    PRIMARY KEY (import_id, place)
);

-- The files of exports are compressed already, or soon gone.
ALTER TABLE import_pieces ALTER COLUMN content SET STORAGE EXTERNAL;
