-- Endpoints that are sent events of their owners' runs; `sealed` cannot be read without a secret that
-- is not in here. `types` has a space around each type, or is `*`.
CREATE TABLE webhooks (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    types TEXT NOT NULL,
    enabled INTEGER NOT NULL,
    failing INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    doc BLOB NOT NULL
) STRICT;

CREATE INDEX webhooks_of_owner ON webhooks (owner);

-- An event for a webhook. While it is pending, it is due at `due_at`; while it is claimed, that is
-- the end of the lease.
CREATE TABLE deliveries (
    seq INTEGER PRIMARY KEY,
    webhook_id TEXT NOT NULL,
    id TEXT NOT NULL,
    owner TEXT NOT NULL,
    run_id TEXT NOT NULL,
    type TEXT NOT NULL,
    status TEXT NOT NULL,
    claimed INTEGER NOT NULL,
    due_at INTEGER,
    attempts INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    body BLOB NOT NULL,
    outcome BLOB NOT NULL,
    UNIQUE (webhook_id, id)
) STRICT;

CREATE INDEX deliveries_of_webhook ON deliveries (webhook_id, seq);
CREATE INDEX deliveries_of_owner ON deliveries (owner);
CREATE INDEX deliveries_by_age ON deliveries (created_at);
CREATE INDEX due_deliveries ON deliveries (webhook_id, due_at) WHERE status = 'pending';
CREATE INDEX pending_deliveries ON deliveries (webhook_id, run_id, seq) WHERE status = 'pending';
