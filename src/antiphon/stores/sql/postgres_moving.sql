-- name: progress
SELECT value FROM meta WHERE name = 'moving'

-- name: progress_for_update
SELECT value FROM meta WHERE name = 'moving' FOR UPDATE

-- name: save_progress
INSERT INTO meta (name, value) VALUES ('moving', $1) ON CONFLICT (name) DO UPDATE SET value = $1

-- name: delete_progress
DELETE FROM meta WHERE name = 'moving'

-- name: count_driven_runs
SELECT count(*) FROM drives
WHERE status = 'in_progress' AND due_at > extract(epoch FROM clock_timestamp()) * 1000

-- name: read_installation
SELECT name, value FROM meta WHERE name = 'secret' AND name > $1 ORDER BY 1 LIMIT $2

-- name: write_installation
INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = $2

-- name: count_installation
SELECT count(*) FROM meta WHERE name = 'secret'

-- name: read_people
SELECT seq, id, folded, subject, governs, password, doc FROM people
WHERE seq > $1 ORDER BY 1 LIMIT $2

-- name: write_people
INSERT INTO people (seq, id, folded, subject, governs, password, doc)
OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, $4, $5, $6, $7)

-- name: count_people
SELECT count(*) FROM people

-- name: read_keys
SELECT seq, id, prefix, digest, doc FROM keys WHERE seq > $1 ORDER BY 1 LIMIT $2

-- name: write_keys
INSERT INTO keys (seq, id, owner, prefix, digest, counts_tokens, doc)
OVERRIDING SYSTEM VALUE
SELECT
    $1, $2, said ->> 'owner', $3, $4, said -> 'limits' ->> 'tokens_per_day' IS NOT NULL, $5
FROM (SELECT convert_from($5::bytea, 'UTF8')::json AS said) AS parsed

-- name: count_keys
SELECT count(*) FROM keys

-- name: read_projects
SELECT seq, id, folded, doc FROM projects WHERE seq > $1 ORDER BY 1 LIMIT $2

-- name: write_projects
INSERT INTO projects (seq, id, folded, doc) OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, $4)

-- name: count_projects
SELECT count(*) FROM projects

-- name: read_provider_keys
SELECT owner, provider, sealed, doc FROM provider_keys
WHERE (owner, provider) > ($1, $2) ORDER BY 1, 2 LIMIT $3

-- name: write_provider_keys
INSERT INTO provider_keys (owner, provider, sealed, doc) VALUES ($1, $2, $3, $4)

-- name: count_provider_keys
SELECT count(*) FROM provider_keys

-- name: read_personal
SELECT owner, doc FROM personal WHERE owner > $1 ORDER BY 1 LIMIT $2

-- name: write_personal
INSERT INTO personal (owner, doc) VALUES ($1, $2)

-- name: count_personal
SELECT count(*) FROM personal

-- name: read_acts
SELECT seq, id, owner, doc FROM acts WHERE seq > $1 ORDER BY 1 LIMIT $2

-- name: write_acts
INSERT INTO acts (seq, id, owner, doc) OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, $4)

-- name: count_acts
SELECT count(*) FROM acts

-- name: read_webhooks
SELECT seq, id, owner, types, enabled, failing, sealed, doc FROM webhooks
WHERE seq > $1 ORDER BY 1 LIMIT $2

-- name: write_webhooks
INSERT INTO webhooks (seq, id, owner, types, enabled, failing, sealed, doc)
OVERRIDING SYSTEM VALUE
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)

-- name: count_webhooks
SELECT count(*) FROM webhooks

-- name: read_deliveries
SELECT
    seq, webhook_id, id, owner, run_id, type, status, claimed, due_at, attempts, created_at, body,
    outcome
FROM deliveries WHERE seq > $1 ORDER BY 1 LIMIT $2

-- name: write_deliveries
INSERT INTO deliveries (
    seq, webhook_id, id, owner, run_id, type, status, claimed, due_at, attempts, created_at, body,
    outcome
)
OVERRIDING SYSTEM VALUE
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)

-- name: count_deliveries
SELECT count(*) FROM deliveries

-- name: read_schedules
SELECT seq, id, owner, next_at, changes, key_id, destination, doc FROM schedules
WHERE seq > $1 ORDER BY 1 LIMIT $2

-- name: write_schedules
INSERT INTO schedules (seq, id, owner, next_at, changes, key_id, destination, doc)
OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, $4, $5, $6, $7, $8)

-- name: count_schedules
SELECT count(*) FROM schedules

-- name: read_occurrences
SELECT seq, id, schedule_id, owner, status, due_at, created_at, doc FROM occurrences
WHERE seq > $1 ORDER BY 1 LIMIT $2

-- name: write_occurrences
INSERT INTO occurrences (seq, id, schedule_id, owner, status, due_at, created_at, doc)
OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, $4, $5, $6, $7, $8)

-- name: count_occurrences
SELECT count(*) FROM occurrences

-- name: read_shares
SELECT seq, id, owner, thread_id, token_hash, expires_at, doc, snapshot FROM shares
WHERE seq > $1 ORDER BY 1 LIMIT $2

-- name: write_shares
INSERT INTO shares (seq, id, owner, thread_id, token_hash, expires_at, doc, snapshot)
OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, $4, $5, $6, $7, $8)

-- name: count_shares
SELECT count(*) FROM shares

-- name: read_counters
SELECT key_id, what, period, total FROM counters
WHERE (key_id, what) > ($1, $2) ORDER BY 1, 2 LIMIT $3

-- name: write_counters
INSERT INTO counters (key_id, what, period, total) VALUES ($1, $2, $3, $4)

-- name: count_counters
SELECT count(*) FROM counters

-- name: read_spent
SELECT
    day, owner, model, sum(runs)::bigint, sum(unpriced)::bigint, sum(input_tokens)::bigint,
    sum(output_tokens)::bigint, sum(cached_tokens)::bigint, sum(reasoning_tokens)::bigint,
    sum(cost ORDER BY part), sum(audio_seconds ORDER BY part)
FROM spent WHERE (day, owner, model) > ($1, $2, $3)
GROUP BY day, owner, model ORDER BY 1, 2, 3 LIMIT $4

-- name: write_spent
INSERT INTO spent (
    day, owner, model, part, runs, unpriced, input_tokens, output_tokens, cached_tokens,
    reasoning_tokens, cost, audio_seconds
) VALUES ($1, $2, $3, 0, $4, $5, $6, $7, $8, $9, $10, $11)

-- name: count_spent
SELECT count(*) FROM (SELECT DISTINCT day, owner, model FROM spent) AS told

-- name: read_assistants
SELECT seq, id, owner, doc FROM assistants WHERE seq > $1 ORDER BY 1 LIMIT $2

-- name: write_assistants
INSERT INTO assistants (seq, id, owner, doc) OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, $4)

-- name: count_assistants
SELECT count(*) FROM assistants

-- name: read_folders
SELECT seq, id, owner, doc FROM folders WHERE seq > $1 ORDER BY 1 LIMIT $2

-- name: write_folders
INSERT INTO folders (seq, id, owner, doc) OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, $4)

-- name: count_folders
SELECT count(*) FROM folders

-- name: read_files
SELECT seq, id, owner, doc, content FROM uploads
WHERE seq > $1 ORDER BY 1 LIMIT $2

-- name: write_files
INSERT INTO uploads (seq, id, owner, doc, content) OVERRIDING SYSTEM VALUE
VALUES ($1, $2, $3, $4, $5)

-- name: count_files
SELECT count(*) FROM uploads

-- name: read_threads
SELECT seq, id, owner, version, words, doc, family FROM threads
WHERE seq > $1 ORDER BY 1 LIMIT $2

-- name: write_threads
-- A trigger computes updated_at, has_messages and replaces, which repeat fields of the document.
INSERT INTO threads (seq, id, owner, version, changes, parent_id, words, doc, family)
OVERRIDING SYSTEM VALUE
VALUES ($1, $2, $3, $4, 0, thread_document($6) ->> 'parent_id', $5, $6, $7)

-- name: count_threads
SELECT count(*) FROM threads

-- name: read_messages
SELECT seq, id, thread_id, number, role, size, tokens, chat, words, doc
FROM messages WHERE seq > $1 ORDER BY 1 LIMIT $2

-- name: write_messages
INSERT INTO messages (seq, id, thread_id, number, role, size, tokens, chat, words, doc)
OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)

-- name: count_messages
SELECT count(*) FROM messages

-- name: read_segments
SELECT thread_id, last, bytes_before, tokens_before, size, tokens, chat, landmarks FROM segments
WHERE (thread_id, last) > ($1, $2) ORDER BY 1, 2 LIMIT $3

-- name: write_segments
INSERT INTO segments (
    thread_id, last, bytes_before, tokens_before, size, tokens, chat, landmarks
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)

-- name: count_segments
SELECT count(*) FROM segments

-- name: read_runs
SELECT
    seq, runs.id, owner, runs.thread_id, doc, status, epoch, wanted, wanted_at, worker, due_at,
    last_event, turn_began_after, kept_after, fresh, ended_at, key_id, trace, destination
FROM runs JOIN drives ON run = seq WHERE seq > $1 ORDER BY 1 LIMIT $2

-- name: write_runs
-- The log is parted by the day in `seq`, which does not go back where days do.
WITH begun AS (
    INSERT INTO runs (seq, id, owner, thread_id, doc)
    SELECT
        greatest(
            (convert_from($5::bytea, 'UTF8')::json ->> 'created_at')::bigint / 86400000,
            (SELECT max(seq) >> 36 FROM runs)
        ) << 36 | nextval('run_numbers'),
        $2, $3, $4, $5
    WHERE $1::bigint IS NOT NULL
    RETURNING seq
)
INSERT INTO drives (
    run, id, thread_id, status, epoch, wanted, wanted_at, worker, due_at, last_event,
    turn_began_after, kept_after, fresh, ended_at, forgotten, key_id, trace, destination
)
SELECT
    seq, $2, $4, $6, $7, $8, $9, $10, $11, $12::integer, $13, $14::integer, $15, $16::bigint,
    $16::bigint IS NOT NULL AND $14::integer >= $12::integer, $17, $18, $19
FROM begun

-- name: count_runs
SELECT count(*) FROM runs

-- name: read_actions
SELECT seq, id, run_id, turn, tool_call_id, status, doc FROM actions
WHERE seq > $1 ORDER BY 1 LIMIT $2

-- name: write_actions
INSERT INTO actions (seq, id, run_id, turn, tool_call_id, status, doc)
OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, $4, $5, $6, $7)

-- name: count_actions
SELECT count(*) FROM actions

-- name: days_of_events
SELECT DISTINCT run >> 36 FROM drives WHERE NOT forgotten

-- name: read_events
-- Without those that are forgotten, and go with their day.
SELECT log.run, last, id, first, lines FROM log JOIN drives ON drives.run = log.run
WHERE (log.run, last) > ($1, $2) AND last > kept_after ORDER BY 1, 2 LIMIT $3

-- name: write_events
INSERT INTO log (run, first, last, lines)
SELECT seq, $4, $2, $5 FROM runs WHERE id = $3 AND $1::bigint IS NOT NULL

-- name: count_events
SELECT count(*) FROM log JOIN drives ON drives.run = log.run WHERE last > kept_after

-- name: read_answers
SELECT owner, route, key, digest, answer, subject, created_at FROM once
WHERE (owner, route, key) > ($1, $2, $3) ORDER BY 1, 2, 3 LIMIT $4

-- name: write_answers
INSERT INTO once (owner, route, key, digest, answer, subject, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)

-- name: count_answers
SELECT count(*) FROM once

-- name: set_sequences
SELECT setval(pg_get_serial_sequence(named, 'seq'), newest)
FROM (
    SELECT 'people' AS named, max(seq) AS newest FROM people
    UNION ALL SELECT 'keys', max(seq) FROM keys
    UNION ALL SELECT 'projects', max(seq) FROM projects
    UNION ALL SELECT 'acts', max(seq) FROM acts
    UNION ALL SELECT 'assistants', max(seq) FROM assistants
    UNION ALL SELECT 'folders', max(seq) FROM folders
    UNION ALL SELECT 'uploads', max(seq) FROM uploads
    UNION ALL SELECT 'threads', max(seq) FROM threads
    UNION ALL SELECT 'messages', max(seq) FROM messages
    UNION ALL SELECT 'actions', max(seq) FROM actions
    UNION ALL SELECT 'webhooks', max(seq) FROM webhooks
    UNION ALL SELECT 'deliveries', max(seq) FROM deliveries
    UNION ALL SELECT 'schedules', max(seq) FROM schedules
    UNION ALL SELECT 'occurrences', max(seq) FROM occurrences
    UNION ALL SELECT 'shares', max(seq) FROM shares
) AS tables
WHERE newest IS NOT NULL

-- name: lock_tables
LOCK TABLE
    meta, people, keys, projects, provider_keys, personal, acts, counters, spent, assistants, folders,
    uploads, threads, messages, segments, runs, drives, actions, log, once, webhooks, deliveries,
    schedules, occurrences, shares
IN SHARE MODE NOWAIT
