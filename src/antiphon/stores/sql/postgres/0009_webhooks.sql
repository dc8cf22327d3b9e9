-- Endpoints that are sent events of their owners' runs; `sealed` cannot be read without a secret that
-- is not in here. `types` has a space around each type, or is `*`.
CREATE TABLE webhooks (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL CONSTRAINT webhooks_id UNIQUE,
    owner TEXT COLLATE "C" NOT NULL,
    types TEXT COLLATE "C" NOT NULL,
    enabled BOOLEAN NOT NULL,
    failing BOOLEAN NOT NULL,
    sealed BYTEA NOT NULL,
    doc BYTEA NOT NULL
);

CREATE INDEX webhooks_of_owner ON webhooks (owner);

-- An event for a webhook. While it is pending, it is due at `due_at`; while it is claimed, that is
-- the end of the lease.
CREATE TABLE deliveries (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    webhook_id TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    run_id TEXT COLLATE "C" NOT NULL,
    type TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    claimed BOOLEAN NOT NULL,
    due_at BIGINT,
    attempts INTEGER NOT NULL,
    created_at BIGINT NOT NULL,
    body BYTEA NOT NULL,
    outcome BYTEA NOT NULL,
    CONSTRAINT deliveries_id UNIQUE (webhook_id, id)
);

CREATE INDEX deliveries_of_webhook ON deliveries (webhook_id, seq);
CREATE INDEX deliveries_of_owner ON deliveries (owner);
CREATE INDEX deliveries_by_age ON deliveries (created_at);
CREATE INDEX due_deliveries ON deliveries (webhook_id, due_at) WHERE status = 'pending';
CREATE INDEX pending_deliveries ON deliveries (webhook_id, run_id, seq) WHERE status = 'pending';
