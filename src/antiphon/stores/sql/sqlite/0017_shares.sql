-- Snapshots of threads that can be read under a link. Of the link's token only a hash is stored.
CREATE TABLE shares (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    thread_id TEXT NOT NULL REFERENCES threads (id) ON DELETE CASCADE,
    token_hash BLOB NOT NULL UNIQUE,
    expires_at INTEGER NOT NULL,
    doc BLOB NOT NULL,
    snapshot BLOB NOT NULL
) STRICT;

CREATE INDEX shares_of_owner ON shares (owner, seq);
CREATE INDEX shares_of_thread ON shares (thread_id);
CREATE INDEX shares_by_expiry ON shares (expires_at);
