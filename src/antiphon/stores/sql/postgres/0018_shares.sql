-- Snapshots of threads that can be read under a link. Of the link's token only a hash is stored.
CREATE TABLE shares (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL CONSTRAINT shares_id UNIQUE,
    owner TEXT COLLATE "C" NOT NULL,
    thread_id TEXT COLLATE "C" NOT NULL REFERENCES threads (id) ON DELETE CASCADE,
    token_hash BYTEA NOT NULL CONSTRAINT shares_token UNIQUE,
    expires_at BIGINT NOT NULL,
    doc BYTEA NOT NULL,
    snapshot BYTEA NOT NULL
);

CREATE INDEX shares_of_owner ON shares (owner, seq);
CREATE INDEX shares_of_thread ON shares (thread_id);
CREATE INDEX shares_by_expiry ON shares (expires_at);
