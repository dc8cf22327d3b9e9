-- Which key a run was begun with, and the trace of who asked for its next turn.
ALTER TABLE runs ADD COLUMN key_id TEXT;
ALTER TABLE runs ADD COLUMN trace TEXT;

-- How many runs of a key are under way: as large as these are many.
CREATE INDEX runs_of_key ON runs (key_id)
    WHERE key_id IS NOT NULL AND status IN ('queued', 'in_progress', 'action_required');

-- Computed, so that it is right whichever version has written the key.
ALTER TABLE keys ADD COLUMN owner TEXT
    GENERATED ALWAYS AS (json_extract(CAST(doc AS TEXT), '$.owner')) VIRTUAL;

CREATE INDEX keys_of_owner ON keys (owner);

-- What a key has used in the period of that number; the next period takes the row.
CREATE TABLE counters (
    key_id TEXT NOT NULL,
    what TEXT NOT NULL,
    period INTEGER NOT NULL,
    total INTEGER NOT NULL,
    PRIMARY KEY (key_id, what)
) STRICT, WITHOUT ROWID;

CREATE TABLE projects (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    folded TEXT NOT NULL UNIQUE,
    doc BLOB NOT NULL
) STRICT;

-- Keys of owners for providers; `sealed` cannot be read without a secret that is not in here.
CREATE TABLE provider_keys (
    owner TEXT NOT NULL,
    provider TEXT NOT NULL,
    sealed BLOB NOT NULL,
    doc BLOB NOT NULL,
    PRIMARY KEY (owner, provider)
) STRICT, WITHOUT ROWID;

-- The audit log; nothing deletes from it.
CREATE TABLE acts (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    owner TEXT,
    doc BLOB NOT NULL
) STRICT;

CREATE INDEX acts_of_owner ON acts (owner, seq) WHERE owner IS NOT NULL;
