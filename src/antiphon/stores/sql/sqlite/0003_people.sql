-- People who log in. `folded` is the name as names are compared, `governs` whether they can log in
-- and administer, `password` its hash.

CREATE TABLE people (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    folded TEXT NOT NULL UNIQUE,
    subject TEXT UNIQUE,
    governs INTEGER NOT NULL,
    password TEXT,
    doc BLOB NOT NULL
) STRICT;

-- What was used, by the day on which runs ended: kept up with every end, so that it is never summed
-- over all runs, and stays when threads are deleted.
CREATE TABLE spent (
    day TEXT NOT NULL,
    owner TEXT NOT NULL,
    model TEXT NOT NULL,
    runs INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    cost REAL NOT NULL,
    PRIMARY KEY (day, owner, model)
) STRICT, WITHOUT ROWID;

INSERT INTO spent
SELECT
    day,
    owner,
    model,
    count(*),
    sum(cost IS NULL AND tokens_in + tokens_out > 0),
    sum(tokens_in),
    sum(tokens_out),
    sum(cached),
    sum(reasoning),
    coalesce(sum(cost), 0.0)
FROM (
    SELECT
        date(ended_at / 1000, 'unixepoch') AS day,
        owner,
        json_extract(CAST(doc AS TEXT), '$.model') AS model,
        coalesce(json_extract(CAST(doc AS TEXT), '$.usage.input_tokens'), 0) AS tokens_in,
        coalesce(json_extract(CAST(doc AS TEXT), '$.usage.output_tokens'), 0) AS tokens_out,
        coalesce(json_extract(CAST(doc AS TEXT), '$.usage.cached_tokens'), 0) AS cached,
        coalesce(json_extract(CAST(doc AS TEXT), '$.usage.reasoning_tokens'), 0) AS reasoning,
        json_extract(CAST(doc AS TEXT), '$.usage.cost') AS cost
    FROM runs
    WHERE ended_at IS NOT NULL
)
GROUP BY day, owner, model;

-- Computed, so that it is right whichever version has written the thread.
ALTER TABLE threads ADD COLUMN parent_id TEXT
    GENERATED ALWAYS AS (json_extract(CAST(doc AS TEXT), '$.parent_id')) VIRTUAL;

CREATE INDEX threads_of_parent ON threads (parent_id, seq) WHERE parent_id IS NOT NULL;
