-- name: migrations
CREATE TABLE IF NOT EXISTS migrations (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    applied_at INTEGER NOT NULL
) STRICT

-- name: has_migrations
SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'migrations'

-- name: newest_migration
SELECT coalesce(max(number), 0) FROM migrations

-- name: add_migration
INSERT INTO migrations (number, name, applied_at) VALUES (?, ?, ?)

-- name: unfinished_copy
SELECT 1 FROM meta WHERE name = 'moving'

-- name: count_threads
SELECT count(*) FROM threads

-- name: count_provider_keys
SELECT count(*) FROM provider_keys

-- name: count_all_webhooks
SELECT count(*) FROM webhooks

-- name: thread
SELECT owner, doc FROM threads WHERE id = ?

-- name: version
SELECT version FROM threads WHERE id = ?

-- name: save_thread
INSERT INTO threads (id, owner, version, words, doc) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (id) DO UPDATE SET version = ?3, words = ?4, doc = ?5

-- name: save_message
UPDATE messages SET doc = ? WHERE id = ?

-- name: cut_messages
DELETE FROM messages WHERE thread_id = ? AND number > ?

-- name: add_message
INSERT INTO messages (id, thread_id, number, role, size, tokens, chat, words, doc)
VALUES (:id, :thread_id, :number, :role, :size, :tokens, :chat, '', :doc)

-- name: index_message
-- With values: from a SELECT it takes five times as long.
INSERT OR REPLACE INTO message_index (rowid, owner, words)
VALUES ((SELECT seq FROM messages WHERE id = :id), hex(:owner), :words)

-- name: reindex_message
INSERT OR REPLACE INTO reindex (seq, gone) SELECT seq, FALSE FROM messages WHERE id = :id

-- name: search_messages
SELECT messages.seq, messages.doc, threads.doc
FROM message_index
CROSS JOIN messages ON messages.seq = message_index.rowid
CROSS JOIN threads ON threads.id = messages.thread_id
WHERE message_index MATCH :words AND message_index.rowid < :before AND threads.owner = :owner
ORDER BY message_index.rowid DESC
LIMIT :limit

-- name: search_titles
SELECT threads.doc
FROM title_index
CROSS JOIN threads ON threads.seq = title_index.rowid
WHERE title_index MATCH :words AND threads.owner = :owner
ORDER BY title_index.rowid DESC
LIMIT :limit

-- name: live_runs_with_status
SELECT seq FROM runs
WHERE status IN ('queued', 'in_progress', 'action_required') AND status = :status

-- name: threads_with_words
SELECT messages.thread_id
FROM message_index
CROSS JOIN messages ON messages.seq = message_index.rowid
WHERE message_index MATCH :words
UNION
SELECT titled.id
FROM title_index
CROSS JOIN threads AS titled ON titled.seq = title_index.rowid
WHERE title_index MATCH :words

-- name: count_tags
SELECT
    word,
    count(DISTINCT iif(is_archived, NULL, kin)),
    count(DISTINCT iif(is_archived, kin, NULL))
FROM (
    SELECT
        word.value AS word,
        coalesce(threads.family, threads.id) AS kin,
        instr(threads.doc, CAST('"archived":true' AS BLOB)) > 0 AS is_archived
    FROM threads, json_each(CAST(threads.doc AS TEXT), '$.tags') AS word
    WHERE threads.owner = :owner
        AND instr(threads.doc, CAST('"tags":["' AS BLOB)) > 0
        AND instr(threads.doc, CAST('"temporary":true' AS BLOB)) = 0
)
WHERE word > :after
GROUP BY word
ORDER BY word
LIMIT :limit

-- name: index_progress
SELECT (SELECT count(*) FROM reindex WHERE NOT gone), (SELECT count(*) FROM messages)
WHERE EXISTS (SELECT 1 FROM reindex WHERE NOT gone)

-- name: has_text_to_index
SELECT 1 FROM reindex LIMIT 1

-- name: removed_messages
SELECT seq FROM reindex WHERE gone LIMIT :limit

-- name: message_to_index
SELECT threads.owner, messages.doc
FROM messages JOIN threads ON threads.id = messages.thread_id
WHERE messages.seq = ?

-- name: messages_to_index
SELECT reindex.seq, threads.owner, messages.doc
FROM reindex
LEFT JOIN messages ON messages.seq = reindex.seq
LEFT JOIN threads ON threads.id = messages.thread_id
ORDER BY reindex.seq DESC
LIMIT :limit

-- name: replace_index_entry
INSERT OR REPLACE INTO message_index (rowid, owner, words) VALUES (?, hex(?), ?)

-- name: remove_index_entry
DELETE FROM message_index WHERE rowid = ?

-- name: mark_indexed
DELETE FROM reindex WHERE seq = ?

-- name: compact_message_index
-- A negative number goes on with what an earlier call began, until one segment is left.
INSERT INTO message_index (message_index, rank) VALUES ('merge', -500)

-- name: compact_title_index
INSERT INTO title_index (title_index, rank) VALUES ('merge', -500)

-- name: context
WITH sealed AS (
    SELECT
        coalesce(max(last), 0) AS up_to,
        coalesce(max(bytes_before + size + 1), 0) AS bytes_sealed,
        coalesce(max(tokens_before + tokens), 0) AS tokens_sealed
    FROM segments
    WHERE thread_id = :thread_id
),
tail AS (
    SELECT number, role, size, tokens, chat
    FROM sealed JOIN messages ON thread_id = :thread_id AND number > up_to
)
SELECT
    version,
    up_to + (SELECT count(*) FROM tail),
    tokens_sealed + (SELECT coalesce(sum(tokens), 0) FROM tail),
    (
        SELECT CAST(group_concat(chat, ',') AS BLOB)
        FROM (
            SELECT last AS number, chat FROM segments WHERE thread_id = :thread_id
            UNION ALL
            SELECT number, chat FROM tail
            ORDER BY number
        )
    ),
    (
        SELECT CAST(group_concat(landmarks, ',') AS BLOB)
        FROM (
            SELECT landmarks FROM segments
            WHERE thread_id = :thread_id AND length(landmarks) > 0
            ORDER BY last
        )
    ),
    (
        SELECT
            CAST(
                group_concat(
                    json_array(
                        number, role, bytes_sealed + bytes_to - size - 1, size,
                        tokens_sealed + tokens_to - tokens
                    ),
                    ','
                ) AS BLOB
            )
        FROM (
            SELECT
                number, role, size, tokens,
                sum(size + 1) OVER so_far AS bytes_to,
                sum(tokens) OVER so_far AS tokens_to
            FROM tail
            WINDOW so_far AS (ORDER BY number ROWS UNBOUNDED PRECEDING)
            ORDER BY number
        )
        WHERE role IN ('user', 'system', 'summary')
    )
FROM threads, sealed
WHERE threads.id = :thread_id

-- name: join_segment
-- The next segment, if all its messages are there and as many more: tool outputs fill places kept
-- for them near the end.
INSERT INTO segments (
    thread_id, last, bytes_before, tokens_before, size, tokens, chat, landmarks
)
WITH sealed AS (
    SELECT
        coalesce(max(last), 0) AS up_to,
        coalesce(max(bytes_before + size + 1), 0) AS bytes_sealed,
        coalesce(max(tokens_before + tokens), 0) AS tokens_sealed
    FROM segments
    WHERE thread_id = :thread_id
)
SELECT
    :thread_id, up_to + :length, bytes_sealed, tokens_sealed,
    sum(each.size + 1) - 1, sum(each.tokens),
    CAST(group_concat(each.chat, ',') AS BLOB),
    CAST(
        coalesce(
            group_concat(
                CASE WHEN each.role IN ('user', 'system', 'summary') THEN json_array(
                    each.number, each.role, bytes_sealed + each.bytes_to - each.size - 1, each.size,
                    tokens_sealed + each.tokens_to - each.tokens
                ) END,
                ','
            ),
            ''
        ) AS BLOB
    )
FROM sealed, (
    SELECT
        number, role, size, tokens, chat,
        sum(size + 1) OVER so_far AS bytes_to,
        sum(tokens) OVER so_far AS tokens_to
    FROM sealed JOIN messages ON
        thread_id = :thread_id
        AND number > up_to
        AND number <= up_to + :length
    WINDOW so_far AS (ORDER BY number ROWS UNBOUNDED PRECEDING)
    ORDER BY number
) AS each
WHERE up_to + 2 * :length <= :messages
GROUP BY up_to
HAVING count(*) = :length

-- name: drop_segments
DELETE FROM segments WHERE thread_id = ? AND last >= ?

-- name: run
SELECT
    owner, doc, wanted_at, epoch, wanted, worker, due_at,
    max(
        last_event,
        coalesce(
            (SELECT max(last) FROM fresh WHERE run = runs.seq),
            (SELECT max(last) FROM log WHERE run = runs.seq),
            0
        )
    ),
    turn_began_after, kept_after, fresh, key_id, trace, destination
FROM runs
WHERE id = ?

-- name: run_leases
SELECT
    id, epoch, wanted, worker, due_at,
    max(
        last_event,
        coalesce(
            (SELECT max(last) FROM fresh WHERE run = runs.seq),
            (SELECT max(last) FROM log WHERE run = runs.seq),
            0
        )
    ),
    turn_began_after, kept_after, fresh, key_id, trace, destination
FROM runs
WHERE id IN (SELECT value FROM json_each(?))

-- name: actions
-- Those of the last turn that handed out calls, and the one asked for; never all of a long run's.
SELECT CAST('[' || coalesce(group_concat(doc, ','), '') || ']' AS BLOB)
FROM (
    SELECT doc FROM actions
    WHERE seq IN (
        SELECT seq FROM actions
        WHERE run_id = :run_id AND turn = (SELECT max(turn) FROM actions WHERE run_id = :run_id)
        UNION ALL
        SELECT seq FROM actions WHERE run_id = :run_id AND tool_call_id = :tool_call_id
    )
    ORDER BY seq
)

-- name: call_ids
SELECT json_group_array(tool_call_id) FROM actions WHERE run_id = ?

-- name: active_run
SELECT id FROM runs
WHERE thread_id = ? AND status IN ('queued', 'in_progress', 'action_required')

-- name: next_wanted
-- The first run of each destination; of the destinations, from one to the next in the index.
WITH RECURSIVE waiting (destination) AS (
    SELECT min(destination) FROM runs WHERE status = 'queued' AND wanted
    UNION ALL
    SELECT (
        SELECT min(destination) FROM runs
        WHERE status = 'queued' AND wanted AND destination > waiting.destination
    )
    FROM waiting
    WHERE waiting.destination IS NOT NULL
)
SELECT runs.id, runs.destination FROM waiting
JOIN runs ON runs.seq = (
    SELECT seq FROM runs
    WHERE
        status = 'queued' AND wanted AND destination = waiting.destination
        AND id NOT IN (SELECT value FROM json_each(?))
    ORDER BY wanted_at, seq
    LIMIT 1
)
ORDER BY runs.wanted_at, runs.seq

-- name: destinations
-- From one to the next in the index, however many runs wait for each.
WITH RECURSIVE waiting (destination) AS (
    SELECT min(destination) FROM runs WHERE status = 'queued' AND wanted
    UNION ALL
    SELECT (
        SELECT min(destination) FROM runs
        WHERE status = 'queued' AND wanted AND destination > waiting.destination
    )
    FROM waiting
    WHERE waiting.destination IS NOT NULL
)
SELECT destination FROM waiting WHERE destination IS NOT NULL

-- name: unclaimed
SELECT id FROM runs
WHERE
    status = 'queued' AND wanted AND wanted_at < ?2
    AND destination NOT IN (SELECT value FROM json_each(?1))
ORDER BY wanted_at, seq
LIMIT ?3

-- name: overdue_runs
SELECT id FROM runs
WHERE due_at <= ? AND status IN ('queued', 'in_progress', 'action_required')
ORDER BY due_at
LIMIT ?

-- name: leases
SELECT id, epoch, worker, due_at FROM runs
WHERE due_at IS NOT NULL AND status IN ('queued', 'in_progress', 'action_required')
    AND worker IS NOT NULL
LIMIT ?

-- name: add_run
INSERT INTO runs (
    id, owner, thread_id, status, epoch, wanted, wanted_at, worker, due_at, last_event,
    turn_began_after, kept_after, fresh, key_id, trace, destination, ended_at, doc
) VALUES (
    :id, :owner, :thread_id, :status, :epoch, :wanted, :wanted_at, :worker, :due_at, :last_event,
    :turn_began_after, :kept_after, :fresh, :key_id, :trace, :destination, :ended_at, :doc
)

-- name: move_run
UPDATE runs SET
    status = :status, epoch = :epoch, wanted = :wanted, wanted_at = :wanted_at, worker = :worker,
    due_at = :due_at, last_event = :last_event, turn_began_after = :turn_began_after,
    kept_after = :kept_after, fresh = :fresh, key_id = :key_id, trace = :trace,
    destination = :destination, ended_at = :ended_at, doc = :doc
WHERE id = :id AND status = :status_before AND epoch = :epoch_before

-- name: renew_leases
UPDATE runs SET due_at = ? WHERE id = ? AND epoch = ? AND status = 'in_progress'

-- name: save_action
INSERT INTO actions (id, run_id, turn, tool_call_id, status, doc) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (id) DO UPDATE SET status = ?5, doc = ?6

-- name: add_events
INSERT INTO fresh (run, first, last, writer, lines)
VALUES ((SELECT seq FROM runs WHERE id = ?5), ?1, ?2, ?3, ?4)

-- name: append
INSERT INTO fresh (run, first, last, writer, lines)
SELECT runs.seq, rows.column3, rows.column4, rows.column5, rows.column6
FROM (VALUES {rows}) AS rows
CROSS JOIN runs ON runs.id = rows.column1
WHERE
    runs.epoch = rows.column2
    AND runs.status = 'in_progress'
    AND rows.column3 = 1 + max(
        runs.last_event,
        coalesce(
            (SELECT max(fresh.last) FROM fresh WHERE fresh.run = runs.seq),
            (SELECT max(log.last) FROM log WHERE log.run = runs.seq),
            0
        )
    )

-- name: find_append
SELECT 1 FROM fresh
WHERE
    run = (SELECT seq FROM runs WHERE id = ?)
    AND last = ? AND first = ? AND writer = ? AND lines = ?

-- name: fold
-- A row for each stretch that one writer wrote without a break.
INSERT INTO log (run, first, last, writer, lines)
SELECT run, min(first), max(last), writer, CAST(group_concat(lines, char(10)) AS BLOB)
FROM (
    SELECT
        run, first, last, writer, lines,
        last - sum(last - first + 1) OVER (
            PARTITION BY run, writer ORDER BY last ROWS UNBOUNDED PRECEDING
        ) AS written_by_others
    FROM fresh
    ORDER BY run, last
)
GROUP BY run, writer, written_by_others
ORDER BY run, max(last)

-- name: empty_fresh
DELETE FROM fresh

-- name: log
-- One step, however many rows: each step of a reader waits for a busy loop's lock.
SELECT
    status NOT IN ('queued', 'in_progress', 'action_required'),
    kept_after,
    max(
        last_event,
        coalesce(
            (SELECT max(last) FROM fresh WHERE run = runs.seq),
            (SELECT max(last) FROM log WHERE run = runs.seq),
            0
        )
    ),
    coalesce(
        (SELECT min(first) FROM log WHERE run = runs.seq AND last > :after),
        (SELECT min(first) FROM fresh WHERE run = runs.seq AND last > :after)
    ),
    (
        SELECT CAST(group_concat(lines, char(10)) AS BLOB)
        FROM (
            SELECT
                lines,
                sum(length(lines)) OVER (ORDER BY last ROWS UNBOUNDED PRECEDING)
                    - length(lines) AS bytes_before
            FROM (
                SELECT last, lines FROM log
                WHERE run = runs.seq AND last > :after
                UNION ALL
                SELECT last, lines FROM fresh
                WHERE run = runs.seq AND last > :after
                ORDER BY last
                LIMIT 4096
            )
            ORDER BY last
        )
        WHERE bytes_before < :cap
    )
FROM runs
WHERE id = :run_id

-- name: foreign_runs
-- By row number: SQLite would rather walk the whole index.
SELECT id FROM runs
WHERE seq IN (
    SELECT run FROM fresh NOT INDEXED WHERE seq > :fresh AND writer <> :me
    UNION ALL
    SELECT run FROM log NOT INDEXED WHERE seq > :folded AND writer <> :me
)

-- name: newest_rows
-- As they were counted, for the tables may have been emptied since.
SELECT
    coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'fresh'), 0),
    coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'log'), 0)

-- name: expire_events
DELETE FROM log WHERE run IN (
    SELECT seq FROM runs
    WHERE ended_at < :before AND kept_after < last_event
    ORDER BY ended_at LIMIT :limit
)

-- name: mark_expired
UPDATE runs SET kept_after = last_event WHERE id IN (
    SELECT id FROM runs
    WHERE ended_at < :before AND kept_after < last_event
    ORDER BY ended_at LIMIT :limit
)

-- name: expire_answers
DELETE FROM once WHERE created_at < ?

-- name: answer
SELECT digest, answer FROM once WHERE owner = ? AND route = ? AND key = ?

-- name: save_answer
INSERT INTO once (owner, route, key, digest, answer, subject, created_at)
VALUES (?, ?, ?, ?, ?, ?, ?)

-- name: clear_answers
UPDATE once SET answer = NULL WHERE subject = ?

-- name: add_content
INSERT INTO contents (upload_id, content) VALUES (?, ?)

-- name: content
SELECT uploads.owner, contents.rowid
FROM uploads JOIN contents ON contents.upload_id = uploads.id
WHERE uploads.id = ?

-- name: has_pending_documents
SELECT 1 FROM documents WHERE status = 'pending' AND due_at <= :at LIMIT 1

-- name: claim_document
UPDATE documents SET attempts = attempts + 1, due_at = :until
WHERE upload_id = (
    SELECT upload_id FROM documents
    WHERE status = 'pending' AND due_at <= :at
    ORDER BY due_at
    LIMIT 1
)
RETURNING upload_id, attempts

-- name: held_document
SELECT uploads.owner
FROM documents JOIN uploads ON uploads.id = documents.upload_id
WHERE upload_id = :upload_id AND attempts = :attempt AND status = 'pending'

-- name: remove_pages
DELETE FROM pages WHERE upload_id = :upload_id

-- name: add_page
INSERT INTO pages (upload_id, number, title, content)
VALUES (:upload_id, :number, :title, :content)

-- name: index_page
INSERT OR REPLACE INTO page_index (rowid, owner, file, words)
VALUES (
    (SELECT seq FROM pages WHERE upload_id = :upload_id AND number = :number),
    hex(:owner), hex(:upload_id), :words
)

-- name: search_pages
-- Owner and file are words of their own columns, which do not count.
SELECT pages.upload_id, pages.number, pages.title, pages.content
FROM (
    SELECT rowid AS seq, bm25(page_index, 0.0, 0.0, 1.0) AS score FROM page_index
    WHERE page_index MATCH :words
    ORDER BY score, seq
    LIMIT :limit
) AS found
CROSS JOIN pages ON pages.seq = found.seq
CROSS JOIN uploads ON uploads.id = pages.upload_id
WHERE uploads.owner = :owner
ORDER BY found.score, found.seq

-- name: compact_page_index
INSERT INTO page_index (page_index, rank) VALUES ('merge', -500)

-- name: settle_document
UPDATE documents SET status = :status, pages = :pages, cut = :cut, reason = :reason
WHERE upload_id = :upload_id AND attempts = :attempt AND status = 'pending'

-- name: retry_documents
UPDATE documents SET status = 'pending', due_at = 0, attempts = 0, reason = NULL
WHERE status = 'failed' AND reason IN (SELECT value FROM json_each(:reasons))

-- name: documents
SELECT upload_id, status, pages, cut, reason FROM documents WHERE upload_id IN (SELECT value FROM json_each(:ids))

-- name: pages
SELECT number, title, content FROM pages
WHERE upload_id = :upload_id AND number > :after
ORDER BY number
LIMIT :limit

-- name: add_key
INSERT INTO keys (id, prefix, digest, doc) VALUES (:id, :prefix, :digest, :doc)

-- name: find_key
SELECT doc, digest FROM keys WHERE prefix = :prefix ORDER BY seq LIMIT 1

-- name: key_for_update
SELECT doc FROM keys WHERE id = :id

-- name: save_key
UPDATE keys SET doc = :doc WHERE id = :id

-- name: keys
SELECT doc FROM keys ORDER BY seq

-- name: keys_of_for_update
-- Those that open what is the owner's, and those that this person has.
SELECT doc FROM keys
WHERE owner = :owner OR json_extract(CAST(doc AS TEXT), '$.person_id') = :owner
ORDER BY seq

-- name: count_running
SELECT count(*) FROM runs
WHERE key_id = ? AND status IN ('queued', 'in_progress', 'action_required')

-- name: tokens_used
SELECT total FROM counters WHERE key_id = ? AND what = ? AND period >= ?

-- name: count_usage
INSERT INTO counters (key_id, what, period, total)
VALUES (:key_id, :what, :now / :period_ms, :amount)
ON CONFLICT (key_id, what) DO UPDATE SET
    total = CASE WHEN excluded.period > period THEN excluded.total ELSE total + excluded.total END,
    period = max(period, excluded.period)
RETURNING total, :now

-- name: has_tokens_limit
SELECT EXISTS (
    SELECT 1 FROM keys
    WHERE id = ? AND json_extract(CAST(doc AS TEXT), '$.limits.tokens_per_day') IS NOT NULL
)

-- name: erase_counters
DELETE FROM counters WHERE key_id IN (SELECT id FROM keys WHERE owner = :owner)

-- name: save_meta
INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2

-- name: add_meta
INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING

-- name: meta
SELECT value FROM meta WHERE name = ?

-- name: add_assistant
INSERT INTO assistants (id, owner, doc) VALUES (:id, :owner, :doc)

-- name: add_upload
INSERT INTO uploads (id, owner, doc) VALUES (:id, :owner, :doc)

-- name: save_assistant
UPDATE assistants SET doc = ? WHERE id = ?

-- name: remove_assistant
DELETE FROM assistants WHERE id = ? AND owner = coalesce(?, owner)

-- name: count_folders
SELECT count(*) FROM folders WHERE owner = :owner

-- name: add_folder
INSERT INTO folders (id, owner, doc) VALUES (:id, :owner, :doc)

-- name: save_folder
UPDATE folders SET doc = ? WHERE id = ?

-- name: remove_folder
DELETE FROM folders WHERE id = ? AND owner = coalesce(?, owner)

-- name: remove_upload
DELETE FROM uploads WHERE id = ? AND owner = coalesce(?, owner)

-- name: remove_thread
DELETE FROM threads WHERE id = ? AND owner = coalesce(?, owner)

-- name: add_person
INSERT INTO people (id, folded, subject, governs, password, doc)
VALUES (:id, :folded, :subject, :governs, :password, :doc)

-- name: save_person
UPDATE people
SET folded = :folded, subject = :subject, governs = :governs, password = :password, doc = :doc
WHERE id = :id

-- name: remove_person
DELETE FROM people WHERE id = :id

-- name: person
SELECT doc, password FROM people WHERE id = :id

-- name: person_by_name
SELECT doc, password FROM people WHERE folded = :folded

-- name: person_by_subject
SELECT doc, password FROM people WHERE subject = :subject

-- name: people_for_share
SELECT doc FROM people WHERE id IN (SELECT value FROM json_each(:ids))

-- name: lock_people
-- The writer has locked the database.
SELECT 1

-- name: people
SELECT doc FROM people ORDER BY seq

-- name: has_other_admin
SELECT EXISTS (SELECT 1 FROM people WHERE governs AND id <> :id)

-- name: live_runs
SELECT owner, doc FROM runs INDEXED BY active_run
WHERE
    status IN ('queued', 'in_progress', 'action_required')
    AND (:after IS NULL OR seq < (SELECT seq FROM runs WHERE id = :after))
ORDER BY seq DESC
LIMIT :limit

-- name: add_usage
INSERT INTO spent (
    day, owner, model, runs, unpriced,
    input_tokens, output_tokens, cached_tokens, reasoning_tokens, cost, audio_seconds
)
VALUES (
    :day, :owner, :model, :runs, :unpriced,
    :input_tokens, :output_tokens, :cached_tokens, :reasoning_tokens, :cost,
    :audio_seconds
)
ON CONFLICT (day, owner, model) DO UPDATE SET
    runs = runs + excluded.runs,
    unpriced = unpriced + excluded.unpriced,
    input_tokens = input_tokens + excluded.input_tokens,
    output_tokens = output_tokens + excluded.output_tokens,
    cached_tokens = cached_tokens + excluded.cached_tokens,
    reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens,
    cost = cost + excluded.cost,
    audio_seconds = audio_seconds + excluded.audio_seconds

-- name: usage
SELECT
    day, owner, model, runs, unpriced,
    input_tokens, output_tokens, cached_tokens, reasoning_tokens, cost, audio_seconds
FROM spent
WHERE day >= :since AND (:owner IS NULL OR owner = :owner)
ORDER BY day DESC, owner DESC, model DESC
LIMIT :limit

-- name: add_audit_entry
INSERT INTO acts (id, owner, doc) VALUES (:id, :owner, :doc)

-- name: audit_entry_place
SELECT seq FROM acts WHERE id = :id

-- name: audit_entries
SELECT doc FROM acts WHERE seq < :place ORDER BY seq DESC LIMIT :limit

-- name: audit_entries_of_owner
SELECT doc FROM acts WHERE owner = :owner AND seq < :place ORDER BY seq DESC LIMIT :limit

-- name: add_project
INSERT INTO projects (id, folded, doc) VALUES (:id, :folded, :doc)

-- name: save_project
UPDATE projects SET folded = :folded, doc = :doc WHERE id = :id

-- name: remove_project
DELETE FROM projects WHERE id = :id

-- name: project_for_update
SELECT doc FROM projects WHERE id = :id

-- name: projects
SELECT doc FROM projects ORDER BY seq

-- name: save_provider_key
INSERT INTO provider_keys (owner, provider, sealed, doc)
VALUES (:owner, :provider, :encrypted, :doc)
ON CONFLICT (owner, provider) DO UPDATE SET sealed = excluded.sealed, doc = excluded.doc

-- name: provider_keys
SELECT doc FROM provider_keys
WHERE :owner IS NULL OR owner = :owner
ORDER BY owner, provider

-- name: encrypted_key
SELECT sealed FROM provider_keys WHERE owner = :owner AND provider = :provider

-- name: replace_encrypted_key
UPDATE provider_keys SET sealed = :encrypted
WHERE owner = :owner AND provider = :provider AND sealed = :before

-- name: delete_provider_key
DELETE FROM provider_keys WHERE owner = :owner AND provider = :provider

-- name: owners
-- From each owner to the next by a look into an index of each table, however many things there are.
WITH RECURSIVE named (owner) AS (
    SELECT min(owner) FROM (
        SELECT min(owner) AS owner FROM threads WHERE owner > :after AND owner >= :from
        UNION ALL
        SELECT min(owner) FROM uploads WHERE owner > :after AND owner >= :from
        UNION ALL
        SELECT min(owner) FROM assistants WHERE owner > :after AND owner >= :from
        UNION ALL
        SELECT min(owner) FROM folders WHERE owner > :after AND owner >= :from
        UNION ALL
        SELECT min(owner) FROM provider_keys WHERE owner > :after AND owner >= :from
        UNION ALL
        SELECT min(owner) FROM personal WHERE owner > :after AND owner >= :from
        UNION ALL
        SELECT min(owner) FROM webhooks WHERE owner > :after AND owner >= :from
        UNION ALL
        SELECT min(owner) FROM schedules WHERE owner > :after AND owner >= :from
    )
    UNION ALL
    SELECT (
        SELECT min(owner) FROM (
            SELECT min(owner) AS owner FROM threads WHERE owner > named.owner
            UNION ALL
            SELECT min(owner) FROM uploads WHERE owner > named.owner
            UNION ALL
            SELECT min(owner) FROM assistants WHERE owner > named.owner
            UNION ALL
            SELECT min(owner) FROM folders WHERE owner > named.owner
            UNION ALL
            SELECT min(owner) FROM provider_keys WHERE owner > named.owner
            UNION ALL
            SELECT min(owner) FROM personal WHERE owner > named.owner
            UNION ALL
            SELECT min(owner) FROM webhooks WHERE owner > named.owner
            UNION ALL
            SELECT min(owner) FROM schedules WHERE owner > named.owner
        )
    )
    FROM named
    WHERE named.owner IS NOT NULL
),
page AS (SELECT owner FROM named LIMIT :limit)
SELECT
    owner,
    (SELECT count(*) FROM threads WHERE threads.owner = page.owner),
    (SELECT count(*) FROM runs WHERE runs.owner = page.owner),
    (SELECT count(*) FROM uploads WHERE uploads.owner = page.owner),
    (SELECT count(*) FROM assistants WHERE assistants.owner = page.owner)
FROM page
WHERE owner IS NOT NULL AND (:only IS NULL OR owner = :only)

-- name: erase_events
DELETE FROM log WHERE seq IN (
    SELECT log.seq FROM runs JOIN log ON log.run = runs.seq
    WHERE runs.owner = :owner
    LIMIT :limit
)

-- name: erase_actions
DELETE FROM actions WHERE seq IN (
    SELECT actions.seq FROM runs JOIN actions ON actions.run_id = runs.id
    WHERE runs.owner = :owner
    LIMIT :limit
)

-- name: erase_runs
DELETE FROM runs WHERE seq IN (SELECT seq FROM runs WHERE owner = :owner LIMIT :limit)

-- name: erase_segments
DELETE FROM segments WHERE seq IN (
    SELECT segments.seq FROM threads JOIN segments ON segments.thread_id = threads.id
    WHERE threads.owner = :owner
    LIMIT :limit
)

-- name: erase_messages
DELETE FROM messages WHERE seq IN (
    SELECT messages.seq FROM threads JOIN messages ON messages.thread_id = threads.id
    WHERE threads.owner = :owner
    LIMIT :limit
)

-- name: erase_threads
DELETE FROM threads WHERE seq IN (SELECT seq FROM threads WHERE owner = :owner LIMIT :limit)

-- name: erase_uploads
DELETE FROM uploads WHERE seq IN (SELECT seq FROM uploads WHERE owner = :owner LIMIT :limit)

-- name: erase_assistants
DELETE FROM assistants WHERE seq IN (SELECT seq FROM assistants WHERE owner = :owner LIMIT :limit)

-- name: erase_folders
DELETE FROM folders WHERE seq IN (SELECT seq FROM folders WHERE owner = :owner LIMIT :limit)

-- name: erase_answers
DELETE FROM once WHERE owner = :owner AND (route, key) IN (
    SELECT route, key FROM once WHERE owner = :owner LIMIT :limit
)

-- name: erase_usage
DELETE FROM spent WHERE owner = :owner

-- name: erase_provider_keys
DELETE FROM provider_keys WHERE owner = :owner

-- name: overwrite_free_pages
INSERT INTO blank (zeros) VALUES (zeroblob(?))

-- name: release_overwritten_pages
DELETE FROM blank WHERE seq = (SELECT min(seq) FROM blank)

-- name: families
SELECT id, family FROM threads
WHERE family IS NOT NULL AND id IN (SELECT value FROM json_each(:ids))

-- name: import_thread
INSERT INTO threads (id, owner, version, words, doc, family)
VALUES (:id, :owner, :version, :words, :doc, :family)

-- name: import_events
INSERT INTO log (run, first, last, writer, lines)
SELECT seq, :first, :last, 0, :lines FROM runs WHERE id = :run_id

-- name: import_action
INSERT INTO actions (id, run_id, turn, tool_call_id, status, doc)
VALUES (:id, :run_id, :turn, :tool_call_id, :status, :doc)

-- name: import_audit_entry
INSERT INTO acts (id, owner, doc) VALUES (:id, :owner, :doc) ON CONFLICT (id) DO NOTHING

-- name: import_usage
INSERT INTO spent (
    day, owner, model, runs, unpriced,
    input_tokens, output_tokens, cached_tokens, reasoning_tokens, cost, audio_seconds
)
VALUES (
    :day, :owner, :model, :runs, :unpriced,
    :input_tokens, :output_tokens, :cached_tokens, :reasoning_tokens, :cost,
    :audio_seconds
)
ON CONFLICT (day, owner, model) DO UPDATE SET
    runs = max(runs, excluded.runs),
    unpriced = max(unpriced, excluded.unpriced),
    input_tokens = max(input_tokens, excluded.input_tokens),
    output_tokens = max(output_tokens, excluded.output_tokens),
    cached_tokens = max(cached_tokens, excluded.cached_tokens),
    reasoning_tokens = max(reasoning_tokens, excluded.reasoning_tokens),
    cost = max(cost, excluded.cost),
    audio_seconds = max(audio_seconds, excluded.audio_seconds)

-- name: transfer_assistants
UPDATE assistants SET owner = :to
WHERE seq IN (SELECT seq FROM assistants WHERE owner = :owner ORDER BY seq LIMIT :limit)

-- name: transfer_folders
UPDATE folders SET owner = :to
WHERE seq IN (SELECT seq FROM folders WHERE owner = :owner ORDER BY seq LIMIT :limit)

-- name: transfer_uploads
UPDATE uploads SET owner = :to
WHERE seq IN (SELECT seq FROM uploads WHERE owner = :owner ORDER BY seq LIMIT :limit)

-- name: transfer_runs
UPDATE runs SET owner = :to
WHERE thread_id IN (SELECT id FROM threads WHERE owner = :owner ORDER BY seq LIMIT :limit)

-- name: transfer_threads
UPDATE threads SET owner = :to
WHERE seq IN (SELECT seq FROM threads WHERE owner = :owner ORDER BY seq LIMIT :limit)

-- name: lock_webhooks
-- The writer has locked the database.
SELECT 1

-- name: count_webhooks
SELECT count(*) FROM webhooks WHERE owner = :owner

-- name: add_webhook
INSERT INTO webhooks (id, owner, types, enabled, failing, sealed, doc)
VALUES (:id, :owner, :types, :enabled, :failing, :sealed, :doc)

-- name: save_webhook
UPDATE webhooks SET
    types = :types, enabled = :enabled, failing = :failing, sealed = :sealed, doc = :doc
WHERE id = :id

-- name: remove_webhook
DELETE FROM webhooks WHERE id = :id

-- name: webhooks
SELECT owner, sealed, doc FROM webhooks
WHERE :owner IS NULL OR owner = :owner
ORDER BY seq

-- name: webhook
SELECT owner, sealed, doc FROM webhooks WHERE id = :id

-- name: webhook_for_update
SELECT owner, sealed, doc FROM webhooks WHERE id = :id

-- name: add_deliveries
-- Of an event, one for each webhook of the owner that wants it. It need not be looked at before an
-- earlier one of the run is sent again.
INSERT INTO deliveries (
    webhook_id, id, owner, run_id, type, status, claimed, due_at, attempts, created_at, body, outcome
)
SELECT
    webhooks.id, :id, owner, :run_id, :type, 'pending', 0,
    max(
        :now,
        coalesce(
            (
                SELECT max(due_at) FROM deliveries AS earlier
                WHERE
                    earlier.webhook_id = webhooks.id AND earlier.run_id = :run_id
                    AND earlier.status = 'pending' AND NOT earlier.claimed
            ),
            0
        )
    ),
    0, :now, :body, :outcome
FROM webhooks
WHERE owner = :owner AND enabled AND (types = '*' OR instr(types, ' ' || :type || ' ') > 0)
ORDER BY seq

-- name: add_delivery
INSERT INTO deliveries (
    webhook_id, id, owner, run_id, type, status, claimed, due_at, attempts, created_at, body, outcome
)
VALUES (
    :webhook_id, :id, :owner, :run_id, :type, 'pending', 0, :at, 0, :at, :body, :outcome
)

-- name: remove_deliveries
DELETE FROM deliveries WHERE webhook_id = :webhook_id

-- name: hasten_deliveries
UPDATE deliveries SET due_at = :at
WHERE webhook_id = :webhook_id AND status = 'pending' AND NOT claimed AND due_at > :at

-- name: delivery
SELECT webhook_id, id, run_id, type, status, due_at, attempts, created_at, outcome
FROM deliveries WHERE webhook_id = :webhook_id AND id = :id

-- name: delivery_place
SELECT seq FROM deliveries WHERE webhook_id = :webhook_id AND id = :id

-- name: deliveries
SELECT webhook_id, id, run_id, type, status, due_at, attempts, created_at, outcome
FROM deliveries
WHERE
    webhook_id = :webhook_id AND seq < :place
    AND (:status IS NULL OR status = :status)
ORDER BY seq DESC
LIMIT :limit

-- name: resend_delivery
UPDATE deliveries SET status = 'pending', claimed = 0, due_at = :at, outcome = :outcome
WHERE
    webhook_id = :webhook_id AND id = :id
    AND NOT (status = 'pending' AND claimed AND due_at > :at)

-- name: has_due_deliveries
SELECT 1 FROM webhooks
WHERE enabled AND EXISTS (
    SELECT 1 FROM deliveries AS due
    WHERE
        due.webhook_id = webhooks.id AND due.status = 'pending' AND due.due_at <= :at
        AND NOT EXISTS (
            SELECT 1 FROM deliveries AS earlier
            WHERE
                earlier.webhook_id = due.webhook_id AND earlier.run_id = due.run_id
                AND earlier.status = 'pending' AND earlier.seq < due.seq AND due.run_id <> ''
        )
)
LIMIT 1

-- name: due_webhooks
-- Those that do not fail come first, and of each kind the one that has waited longest.
SELECT owner, sealed, doc FROM webhooks
WHERE
    enabled
    AND (
        SELECT min(due_at) FROM deliveries
        WHERE webhook_id = webhooks.id AND status = 'pending'
    ) <= :at
    AND (
        SELECT count(*) FROM deliveries
        WHERE webhook_id = webhooks.id AND status = 'pending' AND due_at > :at AND claimed
    ) < CASE WHEN failing THEN 1 ELSE :most END
ORDER BY
    failing,
    (SELECT min(due_at) FROM deliveries WHERE webhook_id = webhooks.id AND status = 'pending')
LIMIT :limit

-- name: claim_deliveries
-- In their order within a run. What another worker has claimed since is counted once more.
UPDATE deliveries SET claimed = 1, attempts = attempts + 1, due_at = :until
WHERE seq IN (
    SELECT seq FROM deliveries AS due
    WHERE
        webhook_id = :webhook_id AND status = 'pending' AND due_at <= :at
        AND NOT EXISTS (
            SELECT 1 FROM deliveries AS earlier
            WHERE
                earlier.webhook_id = due.webhook_id AND earlier.run_id = due.run_id
                AND earlier.status = 'pending' AND earlier.seq < due.seq AND due.run_id <> ''
        )
    ORDER BY due_at, seq
    LIMIT (
        SELECT max(min(:limit, :most - count(*)), 0) FROM deliveries
        WHERE webhook_id = :webhook_id AND status = 'pending' AND due_at > :at AND claimed
    )
)
RETURNING
    body, webhook_id, id, run_id, type, status, due_at, attempts, created_at, outcome

-- name: held_delivery
SELECT 1 FROM deliveries
WHERE
    webhook_id = :webhook_id AND id = :id AND attempts = :attempts
    AND status = 'pending' AND claimed

-- name: settle_delivery
UPDATE deliveries SET status = :status, claimed = 0, due_at = :due_at, outcome = :outcome
WHERE webhook_id = :webhook_id AND id = :id

-- name: postpone_deliveries
UPDATE deliveries SET due_at = :due_at
WHERE
    webhook_id = :webhook_id AND run_id = :run_id AND status = 'pending' AND NOT claimed
    AND due_at < :due_at AND run_id <> ''

-- name: expire_deliveries
DELETE FROM deliveries WHERE seq IN (
    SELECT seq FROM deliveries WHERE created_at < :before ORDER BY created_at LIMIT :limit
)

-- name: erase_deliveries
DELETE FROM deliveries
WHERE seq IN (SELECT seq FROM deliveries WHERE owner = :owner LIMIT :limit)

-- name: erase_webhooks
DELETE FROM webhooks WHERE owner = :owner

-- name: lock_shares
-- The writer has locked the database.
SELECT 1

-- name: expire_shares_of
DELETE FROM shares WHERE owner = :owner AND expires_at <= :at

-- name: count_shares
SELECT count(*) FROM shares WHERE owner = :owner

-- name: shared_thread
SELECT 1 FROM threads WHERE id = :thread_id AND owner = :owner

-- name: add_share
INSERT INTO shares (id, owner, thread_id, token_hash, expires_at, doc, snapshot)
VALUES (:id, :owner, :thread_id, :token_hash, :expires_at, :doc, :snapshot)

-- name: shares
SELECT doc FROM shares
WHERE owner = :owner AND thread_id = coalesce(:thread_id, thread_id) AND expires_at > :at
ORDER BY seq DESC

-- name: share
SELECT doc FROM shares WHERE id = :id AND owner = :owner AND expires_at > :at

-- name: share_for_update
SELECT doc FROM shares WHERE id = :id AND owner = :owner AND expires_at > :at

-- name: save_share
UPDATE shares SET expires_at = :expires_at, doc = :doc, snapshot = :snapshot WHERE id = :id

-- name: remove_share
DELETE FROM shares WHERE id = :id AND owner = :owner

-- name: open_share
SELECT doc, snapshot FROM shares WHERE token_hash = :token_hash AND expires_at > :at

-- name: lock_chat_imports
-- The writer has locked the database.
SELECT 1

-- name: count_active_chat_imports
SELECT count(*) FROM chat_imports WHERE owner = :owner AND active

-- name: trim_chat_imports
DELETE FROM chat_imports
WHERE owner = :owner AND due_at IS NULL AND seq NOT IN (
    SELECT seq FROM chat_imports WHERE owner = :owner ORDER BY seq DESC LIMIT :keep
)

-- name: add_chat_import
INSERT INTO chat_imports (id, owner, active, due_at, doc)
VALUES (:id, :owner, :active, :due_at, :doc)

-- name: chat_imports
SELECT doc FROM chat_imports WHERE owner = :owner ORDER BY seq DESC

-- name: due_chat_imports
SELECT doc FROM chat_imports WHERE due_at <= :now ORDER BY due_at, seq LIMIT :limit

-- name: chat_import
SELECT doc FROM chat_imports WHERE id = :id AND owner = :owner

-- name: chat_import_for_update
SELECT doc FROM chat_imports WHERE id = :id AND owner = :owner

-- name: save_chat_import
UPDATE chat_imports SET active = :active, due_at = :due_at, doc = :doc WHERE id = :id

-- name: add_import_piece
INSERT INTO import_pieces (import_id, place, content) VALUES (:import_id, :place, :content)

-- name: import_piece
SELECT content FROM import_pieces WHERE import_id = :import_id AND place = :place

-- name: delete_import_pieces
DELETE FROM import_pieces WHERE import_id = :import_id AND place IN (
    SELECT place FROM import_pieces WHERE import_id = :import_id LIMIT :limit
)

-- name: erase_import_pieces
DELETE FROM import_pieces WHERE (import_id, place) IN (
    SELECT import_id, place FROM import_pieces JOIN chat_imports ON id = import_id
    WHERE owner = :owner AND NOT active LIMIT 16
)

-- name: delete_chat_import
DELETE FROM chat_imports WHERE id = :id

-- name: erase_chat_imports
DELETE FROM chat_imports WHERE owner = :owner AND NOT active

-- name: assistant_to_publish
SELECT doc FROM assistants WHERE id = :id AND owner = :owner

-- name: save_published
UPDATE assistants SET doc = :doc WHERE id = :id

-- name: count_published
SELECT count(*) FROM assistants
WHERE owner = :owner AND json_extract(CAST(doc AS TEXT), '$.published_at') IS NOT NULL

-- name: published_place
SELECT seq FROM assistants
WHERE id = :id AND json_extract(CAST(doc AS TEXT), '$.published_at') IS NOT NULL

-- name: published_assistants
SELECT owner, doc FROM assistants
WHERE
    json_extract(CAST(doc AS TEXT), '$.published_at') IS NOT NULL
    AND owner = coalesce(:owner, owner) AND seq < :place
ORDER BY seq DESC
LIMIT :limit

-- name: expire_shares
DELETE FROM shares WHERE seq IN (
    SELECT seq FROM shares WHERE expires_at <= :at ORDER BY expires_at LIMIT :limit
)

-- name: lock_schedules
-- The writer has locked the database.
SELECT 1

-- name: count_schedules
SELECT count(*) FROM schedules WHERE owner = :owner

-- name: add_schedule
INSERT INTO schedules (id, owner, next_at, changes, key_id, destination, doc)
VALUES (:id, :owner, :next_at, 0, :key_id, :destination, :doc)

-- name: save_schedule
UPDATE schedules SET
    next_at = :next_at, changes = changes + 1, key_id = :key_id, destination = :destination,
    doc = :doc
WHERE id = :id

-- name: remove_schedule
DELETE FROM schedules WHERE id = :id

-- name: schedules
SELECT owner, key_id, destination, doc FROM schedules
WHERE :owner IS NULL OR owner = :owner
ORDER BY seq

-- name: schedule
SELECT owner, key_id, destination, doc, changes FROM schedules WHERE id = :id

-- name: schedule_for_update
SELECT owner, key_id, destination, doc FROM schedules WHERE id = :id

-- name: due_schedules
SELECT owner, key_id, destination, doc FROM schedules
WHERE next_at <= :at AND id > :after
ORDER BY id
LIMIT :limit

-- name: next_schedule_time
SELECT min(next_at) FROM schedules WHERE next_at IS NOT NULL

-- name: remove_occurrences
DELETE FROM occurrences WHERE schedule_id = :schedule_id

-- name: occurrence_place
SELECT seq FROM occurrences WHERE schedule_id = :schedule_id AND id = :id

-- name: occurrences
SELECT doc FROM occurrences
WHERE schedule_id = :schedule_id AND seq < :place
ORDER BY seq DESC
LIMIT :limit

-- name: add_occurrence
INSERT INTO occurrences (id, schedule_id, owner, status, due_at, created_at, doc)
VALUES (:id, :schedule_id, :owner, :status, :due_at, :created_at, :doc)

-- name: expire_occurrences
DELETE FROM occurrences WHERE seq IN (
    SELECT seq FROM occurrences WHERE created_at < :before ORDER BY created_at LIMIT :limit
)

-- name: erase_occurrences
DELETE FROM occurrences
WHERE seq IN (SELECT seq FROM occurrences WHERE owner = :owner LIMIT :limit)

-- name: erase_schedules
DELETE FROM schedules WHERE owner = :owner

-- name: personal
SELECT doc FROM personal WHERE owner = :owner

-- name: lock_personal
-- The writer has locked the database.
SELECT 1

-- name: save_personal
INSERT INTO personal (owner, doc) VALUES (:owner, :doc)
ON CONFLICT (owner) DO UPDATE SET doc = excluded.doc

-- name: remove_personal
DELETE FROM personal WHERE owner = :owner

-- name: erase_personal
DELETE FROM personal WHERE owner = :owner
