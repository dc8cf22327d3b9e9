-- This file is frozen: there are databases that were made by it. What changes is a migration of its
-- own, which adds, for an older version may still be at work beside a newer one.
--
-- Columns are what is searched, joined or compared; the rest of a thing is its JSON in `doc`.
-- `seq` is the order of commits, by which lists are paged. Times are milliseconds since 1970.

CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE keys (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    prefix TEXT NOT NULL,
    digest BLOB NOT NULL,
    doc BLOB NOT NULL
) STRICT;

CREATE INDEX keys_by_prefix ON keys (prefix);

CREATE TABLE assistants (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    doc BLOB NOT NULL
) STRICT;

CREATE INDEX assistants_of_owner ON assistants (owner, seq);

CREATE TABLE uploads (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    doc BLOB NOT NULL
) STRICT;

CREATE INDEX uploads_of_owner ON uploads (owner, seq);

CREATE TABLE contents (
    upload_id TEXT PRIMARY KEY REFERENCES uploads (id) ON DELETE CASCADE,
    content BLOB NOT NULL
) STRICT;

-- `words` is the title as the search compares it.
CREATE TABLE threads (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    version INTEGER NOT NULL,
    words TEXT NOT NULL,
    doc BLOB NOT NULL
) STRICT;

CREATE INDEX threads_of_owner ON threads (owner, seq);

-- `chat` is the message as providers take it, `size` its bytes, `tokens` about how many it has.
CREATE TABLE messages (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    thread_id TEXT NOT NULL REFERENCES threads (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    role TEXT NOT NULL,
    size INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    chat BLOB NOT NULL,
    words TEXT NOT NULL,
    doc BLOB NOT NULL,
    UNIQUE (thread_id, number)
) STRICT;

-- The `chat` of many messages, joined: a long thread is read as some large rows, not as thousands of
-- small ones. Segments hold all messages up to the `last` of the newest, and are made anew where a
-- message below that is touched. Of their landmarks the offsets count from the thread's beginning.
CREATE TABLE segments (
    seq INTEGER PRIMARY KEY,
    thread_id TEXT NOT NULL REFERENCES threads (id) ON DELETE CASCADE,
    last INTEGER NOT NULL,
    bytes_before INTEGER NOT NULL,
    tokens_before INTEGER NOT NULL,
    size INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    chat BLOB NOT NULL,
    landmarks BLOB NOT NULL,
    UNIQUE (thread_id, last)
) STRICT;

-- What a worker compares at every append stands before `doc`, so that it is read from one page.
CREATE TABLE runs (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    epoch INTEGER NOT NULL,
    status TEXT NOT NULL,
    last_event INTEGER NOT NULL,
    owner TEXT NOT NULL,
    thread_id TEXT NOT NULL REFERENCES threads (id) ON DELETE CASCADE,
    wanted INTEGER NOT NULL,
    wanted_at INTEGER NOT NULL,
    worker TEXT,
    due_at INTEGER,
    turn_began_after INTEGER NOT NULL,
    kept_after INTEGER NOT NULL,
    fresh INTEGER NOT NULL,
    ended_at INTEGER,
    doc BLOB NOT NULL
) STRICT;

CREATE UNIQUE INDEX active_run ON runs (thread_id)
    WHERE status IN ('queued', 'in_progress', 'action_required');
CREATE INDEX runs_of_thread ON runs (thread_id, owner, seq);
CREATE INDEX runs_of_owner ON runs (owner, seq);
CREATE INDEX queue ON runs (wanted_at, seq) WHERE status = 'queued' AND wanted;
CREATE INDEX runs_due ON runs (due_at)
    WHERE due_at IS NOT NULL AND status IN ('queued', 'in_progress', 'action_required');
CREATE INDEX runs_to_forget ON runs (ended_at)
    WHERE ended_at IS NOT NULL AND kept_after < last_event;

CREATE TABLE actions (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    run_id TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    turn INTEGER NOT NULL,
    tool_call_id TEXT NOT NULL,
    status TEXT NOT NULL,
    doc BLOB NOT NULL,
    UNIQUE (run_id, tool_call_id)
) STRICT;

CREATE INDEX actions_of_turn ON actions (run_id, turn);

-- One row for the events that were written together: their JSON lines, joined by newlines.
-- The newest event of a run is told from here, so that an append touches this table alone. `run` is
-- `runs.seq`: a third of the cost of an append is the index, and numbers make it that small. Its own
-- `seq` is never given twice, not even after a delete: other processes read on from the last they saw.
CREATE TABLE log (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    run INTEGER NOT NULL REFERENCES runs (seq) ON DELETE CASCADE,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    writer INTEGER NOT NULL,
    lines BLOB NOT NULL,
    UNIQUE (run, last)
) STRICT;

-- `answer` is NULL once `subject`, the thing it tells about, was deleted.
CREATE TABLE once (
    owner TEXT NOT NULL,
    route TEXT NOT NULL,
    key TEXT NOT NULL,
    digest BLOB NOT NULL,
    answer BLOB,
    subject TEXT,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (owner, route, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX once_by_subject ON once (subject);
CREATE INDEX once_by_age ON once (created_at);
