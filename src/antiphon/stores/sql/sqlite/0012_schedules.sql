-- Messages that are sent at set times. `next_at` is NULL for one that is paused or has ended.
CREATE TABLE schedules (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    next_at INTEGER,
    changes INTEGER NOT NULL,
    key_id TEXT,
    destination TEXT NOT NULL,
    doc BLOB NOT NULL
) STRICT;

CREATE INDEX schedules_of_owner ON schedules (owner);
CREATE INDEX due_schedules ON schedules (next_at) WHERE next_at IS NOT NULL;

-- What became of the times of a schedule. `due_at` is NULL for a run that was started by hand.
CREATE TABLE occurrences (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    schedule_id TEXT NOT NULL,
    owner TEXT NOT NULL,
    status TEXT NOT NULL,
    due_at INTEGER,
    created_at INTEGER NOT NULL,
    doc BLOB NOT NULL
) STRICT;

CREATE INDEX occurrences_of_schedule ON occurrences (schedule_id, seq);
CREATE INDEX occurrences_of_owner ON occurrences (owner);
CREATE INDEX occurrences_by_age ON occurrences (created_at);
CREATE UNIQUE INDEX started_once ON occurrences (schedule_id, due_at) WHERE status = 'started';
