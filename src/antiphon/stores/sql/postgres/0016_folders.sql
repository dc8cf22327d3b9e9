-- Folders of threads. Threads name theirs in their documents.
CREATE TABLE folders (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL CONSTRAINT folders_id UNIQUE,
    owner TEXT COLLATE "C" NOT NULL,
    doc BYTEA NOT NULL
);

CREATE INDEX folders_of_owner ON folders (owner, seq);
