-- name: progress
SELECT value FROM meta WHERE name = 'moving'

-- name: save_progress
INSERT INTO meta (name, value) VALUES ('moving', ?1) ON CONFLICT (name) DO UPDATE SET value = ?1

-- name: delete_progress
DELETE FROM meta WHERE name = 'moving'

-- name: reindex_messages
-- The index is not copied.
INSERT OR IGNORE INTO reindex (seq, gone) SELECT seq, FALSE FROM messages

-- name: count_driven_runs
SELECT count(*) FROM runs WHERE status = 'in_progress' AND due_at > ?1

-- name: read_installation
SELECT name, CAST(value AS BLOB) FROM meta WHERE name = 'secret' AND name > ?1 ORDER BY 1 LIMIT ?2

-- name: write_installation
INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2

-- name: count_installation
SELECT count(*) FROM meta WHERE name = 'secret'

-- name: read_people
SELECT seq, id, folded, subject, governs, password, doc FROM people
WHERE seq > ?1 ORDER BY 1 LIMIT ?2

-- name: write_people
INSERT INTO people (seq, id, folded, subject, governs, password, doc)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)

-- name: count_people
SELECT count(*) FROM people

-- name: read_keys
SELECT seq, id, prefix, digest, doc FROM keys WHERE seq > ?1 ORDER BY 1 LIMIT ?2

-- name: write_keys
INSERT INTO keys (seq, id, prefix, digest, doc) VALUES (?1, ?2, ?3, ?4, ?5)

-- name: count_keys
SELECT count(*) FROM keys

-- name: read_projects
SELECT seq, id, folded, doc FROM projects WHERE seq > ?1 ORDER BY 1 LIMIT ?2

-- name: write_projects
INSERT INTO projects (seq, id, folded, doc) VALUES (?1, ?2, ?3, ?4)

-- name: count_projects
SELECT count(*) FROM projects

-- name: read_provider_keys
SELECT owner, provider, sealed, doc FROM provider_keys
WHERE (owner, provider) > (?1, ?2) ORDER BY 1, 2 LIMIT ?3

-- name: write_provider_keys
INSERT INTO provider_keys (owner, provider, sealed, doc) VALUES (?1, ?2, ?3, ?4)

-- name: count_provider_keys
SELECT count(*) FROM provider_keys

-- name: read_personal
SELECT owner, doc FROM personal WHERE owner > ?1 ORDER BY 1 LIMIT ?2

-- name: write_personal
INSERT INTO personal (owner, doc) VALUES (?1, ?2)

-- name: count_personal
SELECT count(*) FROM personal

-- name: read_acts
SELECT seq, id, owner, doc FROM acts WHERE seq > ?1 ORDER BY 1 LIMIT ?2

-- name: write_acts
INSERT INTO acts (seq, id, owner, doc) VALUES (?1, ?2, ?3, ?4)

-- name: count_acts
SELECT count(*) FROM acts

-- name: read_webhooks
SELECT seq, id, owner, types, enabled, failing, sealed, doc FROM webhooks
WHERE seq > ?1 ORDER BY 1 LIMIT ?2

-- name: write_webhooks
INSERT INTO webhooks (seq, id, owner, types, enabled, failing, sealed, doc)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)

-- name: count_webhooks
SELECT count(*) FROM webhooks

-- name: read_deliveries
SELECT
    seq, webhook_id, id, owner, run_id, type, status, claimed, due_at, attempts, created_at, body,
    outcome
FROM deliveries WHERE seq > ?1 ORDER BY 1 LIMIT ?2

-- name: write_deliveries
INSERT INTO deliveries (
    seq, webhook_id, id, owner, run_id, type, status, claimed, due_at, attempts, created_at, body,
    outcome
)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)

-- name: count_deliveries
SELECT count(*) FROM deliveries

-- name: read_schedules
SELECT seq, id, owner, next_at, changes, key_id, destination, doc FROM schedules
WHERE seq > ?1 ORDER BY 1 LIMIT ?2

-- name: write_schedules
INSERT INTO schedules (seq, id, owner, next_at, changes, key_id, destination, doc)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)

-- name: count_schedules
SELECT count(*) FROM schedules

-- name: read_occurrences
SELECT seq, id, schedule_id, owner, status, due_at, created_at, doc FROM occurrences
WHERE seq > ?1 ORDER BY 1 LIMIT ?2

-- name: write_occurrences
INSERT INTO occurrences (seq, id, schedule_id, owner, status, due_at, created_at, doc)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)

-- name: count_occurrences
SELECT count(*) FROM occurrences

-- name: read_shares
SELECT seq, id, owner, thread_id, token_hash, expires_at, doc, snapshot FROM shares
WHERE seq > ?1 ORDER BY 1 LIMIT ?2

-- name: write_shares
INSERT INTO shares (seq, id, owner, thread_id, token_hash, expires_at, doc, snapshot)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)

-- name: count_shares
SELECT count(*) FROM shares

-- name: read_counters
SELECT key_id, what, period, total FROM counters
WHERE (key_id, what) > (?1, ?2) ORDER BY 1, 2 LIMIT ?3

-- name: write_counters
INSERT INTO counters (key_id, what, period, total) VALUES (?1, ?2, ?3, ?4)

-- name: count_counters
SELECT count(*) FROM counters

-- name: read_spent
SELECT
    day, owner, model, runs, unpriced, input_tokens, output_tokens, cached_tokens,
    reasoning_tokens, cost, audio_seconds
FROM spent WHERE (day, owner, model) > (?1, ?2, ?3) ORDER BY 1, 2, 3 LIMIT ?4

-- name: write_spent
INSERT INTO spent (
    day, owner, model, runs, unpriced, input_tokens, output_tokens, cached_tokens,
    reasoning_tokens, cost, audio_seconds
) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)

-- name: count_spent
SELECT count(*) FROM spent

-- name: read_assistants
SELECT seq, id, owner, doc FROM assistants WHERE seq > ?1 ORDER BY 1 LIMIT ?2

-- name: write_assistants
INSERT INTO assistants (seq, id, owner, doc) VALUES (?1, ?2, ?3, ?4)

-- name: count_assistants
SELECT count(*) FROM assistants

-- name: read_folders
SELECT seq, id, owner, doc FROM folders WHERE seq > ?1 ORDER BY 1 LIMIT ?2

-- name: write_folders
INSERT INTO folders (seq, id, owner, doc) VALUES (?1, ?2, ?3, ?4)

-- name: count_folders
SELECT count(*) FROM folders

-- name: read_files
SELECT seq, id, owner, doc, content FROM uploads LEFT JOIN contents ON upload_id = id
WHERE seq > ?1 ORDER BY 1 LIMIT ?2

-- name: write_files
INSERT INTO uploads (seq, id, owner, doc) VALUES (?1, ?2, ?3, ?4)

-- name: write_contents
INSERT INTO contents (upload_id, content) SELECT ?2, ?5 WHERE ?5 IS NOT NULL

-- name: count_files
SELECT count(*) FROM uploads

-- name: read_threads
SELECT seq, id, owner, version, CAST(words AS BLOB), doc, family FROM threads
WHERE seq > ?1 ORDER BY 1 LIMIT ?2

-- name: write_threads
INSERT INTO threads (seq, id, owner, version, words, doc, family)
VALUES (?1, ?2, ?3, ?4, CAST(?5 AS TEXT), ?6, ?7)

-- name: count_threads
SELECT count(*) FROM threads

-- name: read_messages
SELECT seq, id, thread_id, number, role, size, tokens, chat, CAST(words AS BLOB), doc
FROM messages WHERE seq > ?1 ORDER BY 1 LIMIT ?2

-- name: write_messages
INSERT INTO messages (seq, id, thread_id, number, role, size, tokens, chat, words, doc)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, CAST(?9 AS TEXT), ?10)

-- name: count_messages
SELECT count(*) FROM messages

-- name: read_segments
SELECT thread_id, last, bytes_before, tokens_before, size, tokens, chat, landmarks FROM segments
WHERE (thread_id, last) > (?1, ?2) ORDER BY 1, 2 LIMIT ?3

-- name: write_segments
INSERT INTO segments (
    thread_id, last, bytes_before, tokens_before, size, tokens, chat, landmarks
) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)

-- name: count_segments
SELECT count(*) FROM segments

-- name: read_runs
SELECT
    seq, id, owner, thread_id, doc, status, epoch, wanted, wanted_at, worker, due_at, last_event,
    turn_began_after, kept_after, fresh, ended_at, key_id, trace, destination
FROM runs WHERE seq > ?1 ORDER BY 1 LIMIT ?2

-- name: write_runs
INSERT INTO runs (
    seq, id, owner, thread_id, doc, status, epoch, wanted, wanted_at, worker, due_at, last_event,
    turn_began_after, kept_after, fresh, ended_at, key_id, trace, destination
) VALUES (
    ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19
)

-- name: count_runs
SELECT count(*) FROM runs

-- name: read_actions
SELECT seq, id, run_id, turn, tool_call_id, status, doc FROM actions
WHERE seq > ?1 ORDER BY 1 LIMIT ?2

-- name: write_actions
INSERT INTO actions (seq, id, run_id, turn, tool_call_id, status, doc)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)

-- name: count_actions
SELECT count(*) FROM actions

-- name: read_events
SELECT run, last, (SELECT id FROM runs WHERE seq = run), first, lines
FROM (SELECT run, last, first, lines FROM log UNION ALL SELECT run, last, first, lines FROM fresh)
WHERE (run, last) > (?1, ?2) ORDER BY 1, 2 LIMIT ?3

-- name: write_events
INSERT INTO log (run, first, last, writer, lines)
SELECT seq, ?4, ?2, 0, ?5 FROM runs WHERE id = ?3

-- name: count_events
SELECT (SELECT count(*) FROM log) + (SELECT count(*) FROM fresh)

-- name: read_answers
SELECT owner, route, key, digest, answer, subject, created_at FROM once
WHERE (owner, route, key) > (?1, ?2, ?3) ORDER BY 1, 2, 3 LIMIT ?4

-- name: write_answers
INSERT INTO once (owner, route, key, digest, answer, subject, created_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)

-- name: count_answers
SELECT count(*) FROM once
