-- Messages that are sent at set times. `next_at` is NULL for one that is paused or has ended.
CREATE TABLE schedules (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL CONSTRAINT schedules_id UNIQUE,
    owner TEXT COLLATE "C" NOT NULL,
    next_at BIGINT,
    changes BIGINT NOT NULL,
    key_id TEXT COLLATE "C",
    destination TEXT COLLATE "C" NOT NULL,
    doc BYTEA NOT NULL
);

CREATE INDEX schedules_of_owner ON schedules (owner);
CREATE INDEX due_schedules ON schedules (next_at) WHERE next_at IS NOT NULL;

-- What became of the times of a schedule. `due_at` is NULL for a run that was started by hand.
CREATE TABLE occurrences (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL CONSTRAINT occurrences_id UNIQUE,
    schedule_id TEXT COLLATE "C" NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    due_at BIGINT,
    created_at BIGINT NOT NULL,
    doc BYTEA NOT NULL
);

CREATE INDEX occurrences_of_schedule ON occurrences (schedule_id, seq);
CREATE INDEX occurrences_of_owner ON occurrences (owner);
CREATE INDEX occurrences_by_age ON occurrences (created_at);
CREATE UNIQUE INDEX started_once ON occurrences (schedule_id, due_at) WHERE status = 'started';
