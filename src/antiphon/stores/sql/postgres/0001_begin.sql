-- This file is frozen: there are databases that were made by it. What changes is a migration of its
-- own, which adds, for an older version may still be at work beside a newer one.
--
-- Columns are what is searched, joined or compared; the rest of a thing is its JSON in `doc`. Lists
-- are paged by `seq`. Times are milliseconds since 1970. Text is compared by its bytes, whatever the
-- language of the database. Rows of a thread have no foreign keys, whose checks would cost more than
-- the writes: whoever adds one holds the thread's row, and whoever deletes the thread deletes them.

CREATE TABLE meta (
    name TEXT COLLATE "C" PRIMARY KEY,
    value BYTEA NOT NULL
);

-- `begun` counts the runs that were begun under limits of the key, as `changes` does in threads.
CREATE TABLE keys (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL CONSTRAINT keys_id UNIQUE,
    owner TEXT COLLATE "C" NOT NULL,
    prefix TEXT COLLATE "C" NOT NULL,
    digest BYTEA NOT NULL,
    counts_tokens BOOLEAN NOT NULL,
    begun BIGINT NOT NULL DEFAULT 0,
    doc BYTEA NOT NULL
);

CREATE INDEX keys_by_prefix ON keys (prefix);

CREATE INDEX keys_of_owner ON keys (owner);

-- What a key has used in the period of that number; the next period takes the row.
CREATE TABLE counters (
    key_id TEXT COLLATE "C" NOT NULL,
    what TEXT COLLATE "C" NOT NULL,
    period BIGINT NOT NULL,
    total BIGINT NOT NULL,
    PRIMARY KEY (key_id, what)
) WITH (fillfactor = 50);

CREATE TABLE assistants (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL CONSTRAINT assistants_id UNIQUE,
    owner TEXT COLLATE "C" NOT NULL,
    doc BYTEA NOT NULL
);

CREATE INDEX assistants_of_owner ON assistants (owner, seq);

CREATE TABLE uploads (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL CONSTRAINT uploads_id UNIQUE,
    owner TEXT COLLATE "C" NOT NULL,
    doc BYTEA NOT NULL,
    content BYTEA
);

-- Files are read whole or not at all, and are seldom such as can be made smaller.
ALTER TABLE uploads ALTER COLUMN content SET STORAGE EXTERNAL;

CREATE INDEX uploads_of_owner ON uploads (owner, seq);

-- `changes` counts what was changed about the thread, its runs or their actions: who writes a change
-- says what it had counted when it read, and is refused if somebody was quicker. `words` is the title
-- as the search compares it; bytes, which may hold what text may not.
CREATE TABLE threads (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL CONSTRAINT threads_id UNIQUE,
    owner TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    changes BIGINT NOT NULL,
    parent_id TEXT COLLATE "C",
    words BYTEA NOT NULL,
    doc BYTEA NOT NULL
) WITH (fillfactor = 80);

CREATE INDEX threads_of_owner ON threads (owner, seq);

CREATE INDEX threads_of_parent ON threads (parent_id, seq) WHERE parent_id IS NOT NULL;

-- `chat` is the message as providers take it, `size` its bytes, `tokens` about how many it has.
CREATE TABLE messages (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL CONSTRAINT messages_id UNIQUE,
    thread_id TEXT COLLATE "C" NOT NULL,
    number INTEGER NOT NULL,
    role TEXT COLLATE "C" NOT NULL,
    size INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    chat BYTEA NOT NULL,
    words BYTEA NOT NULL,
    doc BYTEA NOT NULL,
    CONSTRAINT messages_number UNIQUE (thread_id, number)
);

-- The `chat` of many messages, joined: a long thread is read as some large rows, not as thousands of
-- small ones. Segments hold all messages up to the `last` of the newest, and are made anew where a
-- message below that is touched. Of their landmarks the offsets count from the thread's beginning.
CREATE TABLE segments (
    thread_id TEXT COLLATE "C" NOT NULL,
    last INTEGER NOT NULL,
    bytes_before BIGINT NOT NULL,
    tokens_before BIGINT NOT NULL,
    size BIGINT NOT NULL,
    tokens BIGINT NOT NULL,
    chat BYTEA NOT NULL,
    landmarks BYTEA NOT NULL,
    PRIMARY KEY (thread_id, last)
);

-- Read far oftener than written: not to be unpacked each time.
ALTER TABLE segments ALTER COLUMN chat SET STORAGE EXTERNAL;

-- What callers see of a run. `seq` is the day on which the run began, times 2^36, and a number that
-- is never given twice: by it the log is parted into days.
CREATE SEQUENCE run_numbers;

CREATE TABLE runs (
    seq BIGINT PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL CONSTRAINT runs_id UNIQUE,
    owner TEXT COLLATE "C" NOT NULL,
    thread_id TEXT COLLATE "C" NOT NULL,
    doc BYTEA NOT NULL
);

CREATE INDEX runs_of_thread ON runs (thread_id, owner, seq);

CREATE INDEX runs_of_owner ON runs (owner, seq);

-- How each run is driven: a narrow row, for every append writes it. It counts the events, and so the
-- one lock that orders the writers of a run is the lock of this row. No index holds `last_event`, so
-- that such a write stays within its page.
CREATE TABLE drives (
    run BIGINT PRIMARY KEY,
    last_event INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    id TEXT COLLATE "C" NOT NULL CONSTRAINT drives_id UNIQUE,
    thread_id TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    wanted BOOLEAN NOT NULL,
    wanted_at BIGINT NOT NULL,
    worker TEXT,
    due_at BIGINT,
    turn_began_after INTEGER NOT NULL,
    kept_after INTEGER NOT NULL,
    fresh BOOLEAN NOT NULL,
    ended_at BIGINT,
    forgotten BOOLEAN NOT NULL DEFAULT FALSE,
    key_id TEXT COLLATE "C",
    trace TEXT COLLATE "C"
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02);

CREATE UNIQUE INDEX active_run ON drives (thread_id)
    WHERE status IN ('queued', 'in_progress', 'action_required');

CREATE INDEX live_runs ON drives (run)
    WHERE status IN ('queued', 'in_progress', 'action_required');

CREATE INDEX queue ON drives (wanted_at, run) WHERE status = 'queued' AND wanted;

CREATE INDEX runs_due ON drives (due_at)
    WHERE due_at IS NOT NULL AND status IN ('queued', 'in_progress', 'action_required');

CREATE INDEX runs_to_forget ON drives (ended_at) WHERE NOT forgotten;

CREATE INDEX drives_of_day ON drives ((run >> 36), ended_at) WHERE NOT forgotten;

CREATE INDEX drives_of_thread ON drives (thread_id);

-- How many runs of a key are under way: as large as these are many.
CREATE INDEX runs_of_key ON drives (key_id)
    WHERE key_id IS NOT NULL AND status IN ('queued', 'in_progress', 'action_required');

CREATE TABLE actions (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL CONSTRAINT actions_id UNIQUE,
    run_id TEXT COLLATE "C" NOT NULL,
    turn INTEGER NOT NULL,
    tool_call_id TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    doc BYTEA NOT NULL,
    CONSTRAINT actions_call UNIQUE (run_id, tool_call_id)
);

CREATE INDEX actions_of_turn ON actions (run_id, turn);

-- One row for the events that were written together: their JSON lines, joined by newlines. What is
-- past retention is not deleted row by row: a day's part is dropped as a whole.
CREATE TABLE log (
    run BIGINT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    lines BYTEA NOT NULL,
    PRIMARY KEY (run, last)
) PARTITION BY RANGE (run);

-- `answer` is NULL once `subject`, the thing it tells about, was deleted.
CREATE TABLE once (
    owner TEXT COLLATE "C" NOT NULL,
    route TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    digest BYTEA NOT NULL,
    answer BYTEA,
    subject TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    CONSTRAINT once_key PRIMARY KEY (owner, route, key)
);

CREATE INDEX once_by_subject ON once (subject);

CREATE INDEX once_by_age ON once (created_at);

-- People who log in. `folded` is the name as names are compared, `governs` whether they can log in
-- and administer, `password` its hash.
CREATE TABLE people (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL CONSTRAINT people_id UNIQUE,
    folded TEXT COLLATE "C" NOT NULL CONSTRAINT people_name UNIQUE,
    subject TEXT COLLATE "C" CONSTRAINT people_subject UNIQUE,
    governs BOOLEAN NOT NULL,
    password TEXT,
    doc BYTEA NOT NULL
);

-- What was used, by the day on which runs ended: kept up with every end, so that it is never summed
-- over all runs, and stays when threads are deleted. In several parts, so that runs of an owner that
-- end at once do not wait for one another's disk.
CREATE TABLE spent (
    day TEXT COLLATE "C" NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    model TEXT COLLATE "C" NOT NULL,
    part SMALLINT NOT NULL,
    runs BIGINT NOT NULL,
    unpriced BIGINT NOT NULL,
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    cached_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    cost DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (day, owner, model, part)
);

CREATE INDEX spent_of_owner ON spent (owner);

CREATE TABLE projects (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL CONSTRAINT projects_id UNIQUE,
    folded TEXT COLLATE "C" NOT NULL CONSTRAINT projects_name UNIQUE,
    doc BYTEA NOT NULL
);

-- Keys of owners for providers; `sealed` cannot be read without a secret that is not in here.
CREATE TABLE provider_keys (
    owner TEXT COLLATE "C" NOT NULL,
    provider TEXT COLLATE "C" NOT NULL,
    sealed BYTEA NOT NULL,
    doc BYTEA NOT NULL,
    PRIMARY KEY (owner, provider)
);

-- The audit log; nothing deletes from it.
CREATE TABLE acts (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL CONSTRAINT acts_id UNIQUE,
    owner TEXT COLLATE "C",
    doc BYTEA NOT NULL
);

CREATE INDEX acts_of_owner ON acts (owner, seq) WHERE owner IS NOT NULL;
