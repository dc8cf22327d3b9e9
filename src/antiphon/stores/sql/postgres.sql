-- name: migrations
CREATE TABLE IF NOT EXISTS migrations (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    applied_at BIGINT NOT NULL
)

-- name: has_migrations
SELECT to_regclass('migrations') IS NOT NULL

-- name: applied_migrations
SELECT number FROM migrations

-- name: unfinished_copy
SELECT 1 FROM meta WHERE name = 'moving'

-- name: add_migration
INSERT INTO migrations (number, name, applied_at)
VALUES (:number, :name, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)

-- name: lock_migrations
-- Held to the end of the transaction: who comes second finds everything done.
SELECT pg_advisory_xact_lock(7305808869232650064)

-- name: lock_online_migrations
SELECT pg_advisory_lock(7305808869232650065)

-- name: unlock_online_migrations
SELECT pg_advisory_unlock(7305808869232650065)

-- name: parts
-- The parts of the log by their names, which hold their day; whether each still is one, and whether
-- somebody began to detach it.
SELECT
    substr(pg_class.relname, 5)::bigint, pg_inherits.inhrelid IS NOT NULL,
    coalesce(pg_inherits.inhdetachpending, FALSE)
FROM pg_class
LEFT JOIN pg_inherits ON inhrelid = pg_class.oid AND inhparent = 'log'::regclass
WHERE
    relkind = 'r' AND relname ~ '^log_[0-9]+$'
    AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'log'::regclass)
ORDER BY 1

-- name: now
SELECT coalesce(:now, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)

-- name: settings
SELECT
    current_setting('fsync'), current_setting('full_page_writes'),
    current_setting('synchronous_commit')

-- name: read_change
-- All that a change is about, in one row: the answer kept under its key, the thread, the run that is
-- named or else the thread's active one, and the actions that count. Each `LIMIT 1` makes a look-up by
-- id of what the planner, which knows the tables as they were when they were small, would scan.
SELECT
    clock.now,
    once.digest, once.answer,
    begun, running, used,
    threads.owner, threads.doc, threads.changes,
    runs.owner, runs.doc, drives.run, drives.wanted_at, drives.epoch, drives.wanted, drives.worker,
    drives.due_at, drives.last_event, drives.turn_began_after, drives.kept_after, drives.fresh,
    drives.key_id, drives.trace, drives.destination,
    (
        SELECT string_agg(doc, ','::bytea ORDER BY seq) FROM actions
        WHERE
            run_id = runs.id
            AND (
                turn = (SELECT max(turn) FROM actions WHERE run_id = runs.id)
                OR tool_call_id = :tool_call_id::text
            )
    )
FROM (
    SELECT
        coalesce(:now, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS now
) AS clock
LEFT JOIN LATERAL (
    SELECT
        (SELECT begun FROM keys WHERE id = :key_id::text) AS begun,
        (
            SELECT count(*) FROM drives
            WHERE
                key_id = :key_id::text
                AND status IN ('queued', 'in_progress', 'action_required')
        ) AS running,
        (
            SELECT total FROM counters
            WHERE
                key_id = :key_id::text AND what = 'tokens'
                AND period >= clock.now / 86400000
        ) AS used
) AS asking ON :key_id::text IS NOT NULL
LEFT JOIN once ON
    once.owner = :once_owner AND once.route = :once_route AND once.key = :once_key
LEFT JOIN LATERAL (
    SELECT run, thread_id FROM drives WHERE id = :run_id::text LIMIT 1
) AS asked ON TRUE
LEFT JOIN LATERAL (
    SELECT id, owner, doc, changes FROM threads
    WHERE
        id = coalesce(:thread_id::text, asked.thread_id)
        AND (:owner::text IS NULL OR owner = :owner::text)
    LIMIT 1
) AS threads ON TRUE
LEFT JOIN LATERAL (
    SELECT asked.run WHERE asked.thread_id = threads.id
    UNION ALL
    SELECT run FROM drives
    WHERE
        :run_id::text IS NULL AND thread_id = threads.id
        AND status IN ('queued', 'in_progress', 'action_required')
) AS found ON TRUE
LEFT JOIN LATERAL (SELECT * FROM drives WHERE run = found.run LIMIT 1) AS drives ON TRUE
LEFT JOIN LATERAL (SELECT * FROM runs WHERE seq = found.run LIMIT 1) AS runs ON TRUE

-- name: lock_change
-- For a change that others have forestalled again and again.
SELECT 1 FROM threads
WHERE id = coalesce(:thread_id::text, (SELECT thread_id FROM drives WHERE id = :run_id::text))
FOR UPDATE

-- name: lock_key
SELECT 1 FROM keys WHERE id = :key_id::text FOR UPDATE

-- name: lock_run
SELECT 1 FROM drives
WHERE
    id = coalesce(
        :run_id::text,
        (
            SELECT id FROM drives
            WHERE
                thread_id = :thread_id::text
                AND status IN ('queued', 'in_progress', 'action_required')
        )
    )
FOR UPDATE

-- name: lock_schedule
SELECT 1 FROM schedules WHERE id = :schedule_id::text FOR UPDATE

-- name: active_run
SELECT id FROM drives
WHERE thread_id = :thread_id AND status IN ('queued', 'in_progress', 'action_required')

-- name: next_wanted
-- The first run of each destination; of the destinations, from one to the next in the index.
WITH RECURSIVE waiting (destination) AS (
    SELECT min(destination) FROM drives WHERE status = 'queued' AND wanted
    UNION ALL
    SELECT (
        SELECT min(destination) FROM drives
        WHERE status = 'queued' AND wanted AND destination > waiting.destination
    )
    FROM waiting
    WHERE waiting.destination IS NOT NULL
)
SELECT first.id, first.destination FROM waiting
CROSS JOIN LATERAL (
    SELECT id, destination, wanted_at, run FROM drives
    WHERE
        status = 'queued' AND wanted AND drives.destination = waiting.destination
        AND id <> ALL (:declined::text[])
    ORDER BY wanted_at, run
    LIMIT 1
) AS first
ORDER BY first.wanted_at, first.run

-- name: claim_next_wanted
-- The first run that no other worker is about to claim or to change. At most a hundred of each
-- destination are looked at: more processes than that do not claim at one moment. They are locked one
-- by one, until one is free. Threads are looked up by id, whatever the planner thinks of the queue.
SELECT candidate.id FROM (
    SELECT few.* FROM unnest(:destinations::text[]) AS wished (destination)
    CROSS JOIN LATERAL (
        SELECT id, thread_id, wanted_at, run FROM drives
        WHERE
            status = 'queued' AND wanted AND drives.destination = wished.destination
            AND id <> ALL (:declined::text[])
        ORDER BY wanted_at, run
        LIMIT 100
    ) AS few
    ORDER BY few.wanted_at, few.run
) AS candidate
CROSS JOIN LATERAL (
    SELECT 1 FROM threads WHERE threads.id = candidate.thread_id FOR UPDATE SKIP LOCKED
) AS held
CROSS JOIN LATERAL (
    SELECT 1 FROM drives
    WHERE drives.run = candidate.run AND drives.status = 'queued' AND drives.wanted
    FOR UPDATE SKIP LOCKED
) AS free
LIMIT 1

-- name: destinations
-- From one to the next in the index, however many runs wait for each.
WITH RECURSIVE waiting (destination) AS (
    SELECT min(destination) FROM drives WHERE status = 'queued' AND wanted
    UNION ALL
    SELECT (
        SELECT min(destination) FROM drives
        WHERE status = 'queued' AND wanted AND destination > waiting.destination
    )
    FROM waiting
    WHERE waiting.destination IS NOT NULL
)
SELECT destination FROM waiting WHERE destination IS NOT NULL

-- name: unclaimed
SELECT id FROM drives
WHERE
    status = 'queued' AND wanted AND wanted_at < :wanted_before
    AND destination <> ALL (:destinations::text[])
ORDER BY wanted_at, run
LIMIT :limit

-- What follows up to `change_end` are the pieces of the one statement that writes changes of one
-- shape. Each is carried out only for the places of `passed`, and those that must not come before
-- another read it. A parameter of a type takes an array with the values of all changes, of which it
-- stands for that of the change's `place`; a parameter of an array's type is that array.

-- name: change_passed
-- All that was read and must still be so is looked at and locked first, in one step: what was written
-- before another part of it is found to be so no more could not be taken back. Of a run an append or
-- a beat since then counts as well.
passed AS (SELECT place FROM unnest(:places::integer[]) AS place{seen})

-- name: change_seen
-- By id, whatever the planner, which knows the tables as they were when they were small, thinks.
CROSS JOIN LATERAL (SELECT 1 FROM {table} WHERE {so} FOR UPDATE{unless_locked}) AS seen_{table}

-- name: seen_threads
id = :thread_id::text AND changes = :changes::bigint

-- name: seen_keys
id = :key_id::text AND begun = :begun::bigint

-- name: seen_drives
id = :run_id::text AND last_event = :last_event_before::integer
AND due_at IS NOT DISTINCT FROM :due_at_before::bigint

-- name: seen_schedules
id = :schedule_id::text AND changes = :schedule_changes::bigint

-- name: change_thread_held
thread_held AS (
    UPDATE threads SET changes = changes + 1 FROM passed WHERE id = :thread_id::text
)

-- name: change_thread_saved
thread_held AS (
    UPDATE threads SET
        changes = changes + 1, version = :version::bigint, parent_id = :parent_id::text,
        words = :words::bytea, search = :title::text::tsvector, updated_at = :updated_at::bigint,
        has_messages = :has_messages::boolean, replaces = :replaces::text, doc = :thread::bytea
    FROM passed
    WHERE id = :thread_id::text
)

-- name: change_key_held
key_held AS (
    UPDATE keys SET begun = begun + 1 FROM passed WHERE id = :key_id::text
)

-- name: change_thread_added
thread_added AS (
    INSERT INTO threads (
        id, owner, version, changes, parent_id, words, search, updated_at, has_messages, replaces,
        doc
    )
    SELECT
        :new_thread_id::text, :new_owner::text, :version::bigint, 0, :parent_id::text,
        :words::bytea, :title::text::tsvector, :updated_at::bigint, :has_messages::boolean,
        :replaces::text, :thread::bytea
    FROM passed
)

-- name: change_messages_cut
messages_cut AS (
    DELETE FROM messages USING passed
    WHERE thread_id = :messages_of::text AND number > :keep_messages::integer
    RETURNING 1
)

-- name: change_segments_dropped
segments_dropped AS (
    DELETE FROM segments USING passed
    WHERE thread_id = :messages_of::text AND last >= :touched::integer
)

-- name: change_messages_added
messages_added AS (
    INSERT INTO messages (id, thread_id, number, role, size, tokens, chat, words, search, doc)
    SELECT
        (:message_ids::text[])[k], :messages_of::text, (:numbers::integer[])[k],
        (:roles::text[])[k], (:sizes::integer[])[k], (:tokens::integer[])[k],
        (:chats::bytea[])[k], '', (:message_words::text[])[k]::tsvector, (:messages::bytea[])[k]
    FROM passed, generate_subscripts(:message_places::integer[], 1) AS k
    WHERE (:message_places::integer[])[k] = place {after_cut}
)

-- name: change_after_cut
AND (SELECT count(*) FROM messages_cut) >= 0

-- name: change_run_moved
run_moved AS (
    UPDATE drives SET
        status = :status::text, epoch = :epoch::integer, wanted = :wanted::boolean,
        wanted_at = :wanted_at::bigint, worker = :worker::text, due_at = :due_at::bigint,
        last_event = :last_event::integer, turn_began_after = :turn_began_after::integer,
        kept_after = :kept_after::integer, fresh = :fresh::boolean, ended_at = :ended_at::bigint,
        key_id = :drive_key_id::text, trace = :trace::text, destination = :destination::text
    FROM passed
    WHERE id = :run_id::text
    RETURNING run, place
)

-- name: change_run_saved
run_saved AS (
    UPDATE runs SET doc = :run::bytea FROM run_moved WHERE seq = run_moved.run
)

-- name: change_events_added
events_added AS (
    INSERT INTO log (run, first, last, lines)
    SELECT run, :first::integer, :last_event::integer, :lines::bytea FROM run_moved
)

-- name: change_run_added
numbered AS (
    SELECT place, (:read_at::bigint / 86400000 << 36) + nextval('run_numbers') AS seq
    FROM passed
    {after_move}
),
run_added AS (
    INSERT INTO runs (seq, id, owner, thread_id, doc)
    SELECT seq, :new_run_id::text, :new_owner::text, :new_run_of::text, :new_run::bytea
    FROM numbered
)

-- name: change_after_move
WHERE (SELECT count(*) FROM run_moved) >= 0

-- name: change_lease_added
lease_added AS (
    INSERT INTO drives (
        run, id, thread_id, status, epoch, wanted, wanted_at, worker, due_at, last_event,
        turn_began_after, kept_after, fresh, ended_at, key_id, trace, destination
    )
    SELECT
        seq, :new_run_id::text, :new_run_of::text, :new_status::text, :new_epoch::integer,
        :new_wanted::boolean, :new_wanted_at::bigint, :new_worker::text, :new_due_at::bigint,
        :new_last_event::integer, :new_turn_began_after::integer, :new_kept_after::integer,
        :new_fresh::boolean, :new_ended_at::bigint, :new_drive_key_id::text, :new_trace::text,
        :new_destination::text
    FROM numbered
)

-- name: change_first_events_added
first_events_added AS (
    INSERT INTO log (run, first, last, lines)
    SELECT seq, :new_first::integer, :new_last_event::integer, :new_lines::bytea FROM numbered
)

-- name: change_actions_saved
actions_saved AS (
    INSERT INTO actions (id, run_id, turn, tool_call_id, status, doc)
    SELECT
        (:action_ids::text[])[k], (:action_runs::text[])[k], (:turns::integer[])[k],
        (:tool_call_ids::text[])[k], (:action_statuses::text[])[k], (:actions::bytea[])[k]
    FROM passed, generate_subscripts(:action_places::integer[], 1) AS k
    WHERE (:action_places::integer[])[k] = place
    ON CONFLICT (id) DO UPDATE SET status = excluded.status, doc = excluded.doc
)

-- name: change_answer_saved
-- In order, so that no two statements wait for one another.
answer_saved AS (
    INSERT INTO once (owner, route, key, digest, answer, subject, created_at)
    SELECT
        :once_owner::text, :once_route::text, :once_key::text, :digest::bytea, :answer::bytea,
        :subject::text, :read_at::bigint
    FROM passed
    ORDER BY 1, 2, 3
)

-- name: change_usage_added
usage_added AS (
    INSERT INTO spent (
        day, owner, model, part, runs, unpriced,
        input_tokens, output_tokens, cached_tokens, reasoning_tokens, cost, audio_seconds
    )
    SELECT
        :spent_day::text, :spent_owner::text, :spent_model::text, :spent_part::smallint,
        sum(:spent_runs::bigint)::bigint, sum(:spent_unpriced::bigint)::bigint,
        sum(:spent_input_tokens::bigint)::bigint, sum(:spent_output_tokens::bigint)::bigint,
        sum(:spent_cached_tokens::bigint)::bigint, sum(:spent_reasoning_tokens::bigint)::bigint,
        sum(:spent_cost::float8), sum(:spent_audio_seconds::float8)
    FROM passed
    GROUP BY 1, 2, 3, 4
    ORDER BY 1, 2, 3, 4
    ON CONFLICT (day, owner, model, part) DO UPDATE SET
        runs = spent.runs + excluded.runs,
        unpriced = spent.unpriced + excluded.unpriced,
        input_tokens = spent.input_tokens + excluded.input_tokens,
        output_tokens = spent.output_tokens + excluded.output_tokens,
        cached_tokens = spent.cached_tokens + excluded.cached_tokens,
        reasoning_tokens = spent.reasoning_tokens + excluded.reasoning_tokens,
        cost = spent.cost + excluded.cost,
        audio_seconds = spent.audio_seconds + excluded.audio_seconds
)

-- name: change_tokens_counted
tokens_counted AS (
    INSERT INTO counters (key_id, what, period, total)
    SELECT keys.id, 'tokens', :read_at::bigint / 86400000, :grown::bigint
    FROM passed, keys
    WHERE keys.id = :counted_key::text AND counts_tokens
    ON CONFLICT (key_id, what) DO UPDATE SET
        total = CASE
            WHEN excluded.period > counters.period THEN excluded.total
            ELSE counters.total + excluded.total
        END,
        period = greatest(counters.period, excluded.period)
)

-- name: change_audit_entry_added
audit_entry_added AS (
    INSERT INTO acts (id, owner, doc)
    SELECT :act_id::text, :act_owner::text, :act::bytea FROM passed
)

-- name: change_deliveries_added
-- A delivery of each event for each webhook of the owner that wants it. It need not be looked at
-- before an earlier one of the run is sent again.
deliveries_added AS (
    INSERT INTO deliveries (
        webhook_id, id, owner, run_id, type, status, claimed, due_at, attempts, created_at, body,
        outcome
    )
    SELECT
        webhooks.id, (:notice_ids::text[])[k], webhooks.owner, (:notice_runs::text[])[k],
        (:notice_types::text[])[k], 'pending', FALSE,
        greatest(
            :read_at::bigint,
            (
                SELECT max(due_at) FROM deliveries AS earlier
                WHERE
                    earlier.webhook_id = webhooks.id
                    AND earlier.run_id = (:notice_runs::text[])[k]
                    AND earlier.status = 'pending' AND NOT earlier.claimed
            )
        ),
        0, :read_at::bigint, (:notice_bodies::bytea[])[k], :outcome::bytea
    FROM passed, webhooks, generate_subscripts(:notice_places::integer[], 1) AS k
    WHERE
        webhooks.owner = :notice_owner::text AND enabled AND (:notice_places::integer[])[k] = place
        AND (types = '*' OR position(' ' || (:notice_types::text[])[k] || ' ' IN types) > 0)
    ORDER BY k, webhooks.seq
)

-- name: change_schedule_saved
schedule_saved AS (
    UPDATE schedules SET
        next_at = :schedule_next_at::bigint, changes = changes + 1, doc = :schedule::bytea
    FROM passed
    WHERE id = :schedule_id::text
)

-- name: change_occurrences_added
occurrences_added AS (
    INSERT INTO occurrences (id, schedule_id, owner, status, due_at, created_at, doc)
    SELECT
        (:occurrence_ids::text[])[k], :schedule_id::text, :schedule_owner::text,
        (:occurrence_statuses::text[])[k], (:occurrence_times::bigint[])[k],
        (:occurrence_births::bigint[])[k], (:occurrences::bytea[])[k]
    FROM passed, generate_subscripts(:occurrence_places::integer[], 1) AS k
    WHERE (:occurrence_places::integer[])[k] = place
    ORDER BY k
)

-- name: change_end
SELECT coalesce(array_agg(place), '{}') FROM passed

-- name: join_segment
-- All segments of which every message is there, and as many messages more: tool outputs fill places
-- kept for them near the end. It counts as a change of the thread, so that none is made beside one.
WITH held AS (
    UPDATE threads SET changes = changes + 1
    WHERE id = :thread_id AND changes = :changes
    RETURNING 1
),
sealed AS (
    SELECT
        coalesce(max(last), 0) AS up_to,
        coalesce(max(bytes_before + size + 1), 0) AS bytes_sealed,
        coalesce(max(tokens_before + tokens), 0) AS tokens_sealed
    FROM segments
    WHERE thread_id = :thread_id
),
each AS (
    SELECT
        number, role, size, messages.tokens, chat,
        (number - 1) / :length::integer AS segment,
        bytes_sealed + sum(size + 1) OVER so_far - size - 1 AS bytes_before,
        tokens_sealed + sum(messages.tokens) OVER so_far - messages.tokens AS tokens_before,
        row_number() OVER so_far + up_to = number AS without_gap
    FROM held, sealed JOIN messages ON
        thread_id = :thread_id
        AND number > up_to
        AND number <= (:messages::integer / :length::integer - 1) * :length::integer
    WINDOW so_far AS (ORDER BY number ROWS UNBOUNDED PRECEDING)
)
INSERT INTO segments (thread_id, last, bytes_before, tokens_before, size, tokens, chat, landmarks)
SELECT
    :thread_id, max(number), min(bytes_before), min(tokens_before), sum(size + 1) - 1, sum(tokens),
    string_agg(chat, ','::bytea ORDER BY number),
    coalesce(
        string_agg(
            convert_to(
                json_build_array(number, role, bytes_before, size, tokens_before)::text, 'UTF8'
            ),
            ','::bytea ORDER BY number
        ) FILTER (WHERE role IN ('user', 'system', 'summary')),
        ''
    )
FROM each
WHERE without_gap
GROUP BY segment
HAVING count(*) = :length::integer

-- name: context
WITH sealed AS (
    SELECT
        coalesce(max(last), 0) AS up_to,
        coalesce(max(bytes_before + size + 1), 0) AS bytes_sealed,
        coalesce(max(tokens_before + tokens), 0)::bigint AS tokens_sealed,
        string_agg(chat, ','::bytea ORDER BY last) AS chat,
        string_agg(nullif(landmarks, ''), ','::bytea ORDER BY last) AS landmarks
    FROM segments
    WHERE thread_id = :thread_id
),
tail AS (
    SELECT
        number, role, size, tokens, chat,
        sum(size + 1) OVER so_far AS bytes_to,
        sum(tokens) OVER so_far AS tokens_to
    FROM messages
    WHERE thread_id = :thread_id AND number > (SELECT up_to FROM sealed)
    WINDOW so_far AS (ORDER BY number ROWS UNBOUNDED PRECEDING)
),
told AS (
    SELECT
        count(*) AS messages,
        coalesce(sum(tail.tokens), 0)::bigint AS tokens,
        string_agg(tail.chat, ','::bytea ORDER BY number) AS chat,
        string_agg(
            convert_to(
                json_build_array(
                    number, role, bytes_sealed + bytes_to - size - 1, size,
                    tokens_sealed + tokens_to - tail.tokens
                )::text,
                'UTF8'
            ),
            ','::bytea ORDER BY number
        ) FILTER (WHERE role IN ('user', 'system', 'summary')) AS landmarks
    FROM sealed, tail
)
SELECT
    version, up_to + messages, tokens_sealed + tokens,
    sealed.chat, told.chat, sealed.landmarks, told.landmarks
FROM threads, sealed, told
WHERE threads.id = :thread_id

-- name: version
SELECT version FROM threads WHERE id = :thread_id

-- name: run_lease
SELECT
    epoch, wanted, worker, due_at, last_event, turn_began_after, kept_after, fresh, key_id, trace,
    destination
FROM drives
WHERE id = :run_id

-- name: run_leases
SELECT
    id, epoch, wanted, worker, due_at, last_event, turn_began_after, kept_after, fresh, key_id,
    trace, destination
FROM drives
WHERE id = ANY (:run_ids::text[])

-- name: run_number
SELECT run FROM drives WHERE id = :run_id

-- name: log
-- The run is named by its number, so that all parts but one are left alone.
SELECT
    status NOT IN ('queued', 'in_progress', 'action_required'),
    kept_after, last_event, page.first, page.lines
FROM drives
LEFT JOIN LATERAL (
    SELECT min(first) AS first, string_agg(lines, '\x0a'::bytea ORDER BY last) AS lines
    FROM (
        SELECT
            first, last, lines,
            sum(length(lines)) OVER (ORDER BY last ROWS UNBOUNDED PRECEDING)
                - length(lines) AS bytes_before
        FROM (
            SELECT first, last, lines FROM log
            WHERE run = :run AND last > :after AND last <= drives.last_event
            ORDER BY last
            LIMIT 4096
        ) AS rows
    ) AS rows
    WHERE bytes_before < :cap
) AS page ON TRUE
WHERE id = :run_id AND drives.run = :run

-- name: append
-- The row of each drive is locked and looked at as it is then, so that a writer that was overtaken
-- while it waited is refused. In the order of the runs, so that no two batches wait for one another.
WITH rows AS MATERIALIZED (
    SELECT * FROM unnest(
        :run_ids::text[], :epochs::integer[], :firsts::integer[], :lasts::integer[], :lines::bytea[]
    ) WITH ORDINALITY AS rows (id, epoch, first, last, lines, place)
    ORDER BY id
),
moved AS (
    UPDATE drives SET last_event = rows.last
    FROM rows
    WHERE
        drives.id = rows.id AND drives.epoch = rows.epoch
        AND (drives.status = 'in_progress') IS TRUE  -- in a form that no index of live runs has
        AND drives.last_event = rows.first - 1
    RETURNING drives.run, rows.first, rows.last, rows.lines, rows.place
),
written AS (
    INSERT INTO log (run, first, last, lines) SELECT run, first, last, lines FROM moved
)
SELECT coalesce(array_agg(place), '{}') FROM moved

-- name: find_append
-- Which of these were written, by a batch of which nobody was told whether it was.
SELECT coalesce(array_agg(place), '{}')
FROM unnest(
    :run_ids::text[], :epochs::integer[], :firsts::integer[], :lasts::integer[], :lines::bytea[]
) WITH ORDINALITY AS rows (id, epoch, first, last, lines, place)
JOIN drives ON drives.id = rows.id AND drives.epoch = rows.epoch
JOIN log ON log.run = drives.run AND log.last = rows.last AND log.first = rows.first
    AND log.lines = rows.lines

-- name: renew_leases
-- Nobody is told of a beat: it may be lost with the machine, so it does not wait for the disk.
UPDATE drives SET
    due_at = coalesce(:now, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) + :lease_ms
FROM (
    SELECT id, epoch
    FROM
        (SELECT set_config('synchronous_commit', 'off', TRUE)) AS relaxed,
        unnest(:run_ids::text[], :epochs::integer[]) AS held (id, epoch)
    ORDER BY id
) AS held
WHERE drives.id = held.id AND drives.epoch = held.epoch AND drives.status = 'in_progress'
RETURNING drives.id, drives.due_at

-- name: overdue_runs
SELECT id FROM drives
WHERE
    due_at <= (
        SELECT coalesce(:now, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)
    )
    AND status IN ('queued', 'in_progress', 'action_required')
ORDER BY due_at
LIMIT :limit

-- name: leases
SELECT id, epoch, worker, due_at FROM drives
WHERE
    due_at IS NOT NULL AND status IN ('queued', 'in_progress', 'action_required')
    AND worker IS NOT NULL
LIMIT :limit

-- name: call_ids
SELECT coalesce(array_agg(tool_call_id), '{}') FROM actions WHERE run_id = :run_id

-- name: answer
SELECT digest, answer FROM once
WHERE owner = :once_owner AND route = :once_route AND key = :once_key

-- name: expire_answers
WITH old AS (
    SELECT ctid FROM once, (SELECT set_config('synchronous_commit', 'off', TRUE)) AS relaxed
    WHERE created_at < :before
    LIMIT :limit
),
gone AS (DELETE FROM once WHERE ctid = ANY (ARRAY(SELECT ctid FROM old)) RETURNING 1)
SELECT count(*) FROM gone

-- name: expire_events
-- First nobody finds the events any more. Their rows go with their day, but for days of which a run
-- is still at work, or ended too lately.
WITH old AS (
    SELECT run FROM drives, (SELECT set_config('synchronous_commit', 'off', TRUE)) AS relaxed
    WHERE ended_at < :before AND NOT forgotten
    ORDER BY ended_at
    LIMIT :limit
    FOR UPDATE OF drives SKIP LOCKED
),
marked AS (
    UPDATE drives SET kept_after = last_event, forgotten = TRUE FROM old WHERE drives.run = old.run
    RETURNING drives.run
)
SELECT coalesce(array_agg(run), '{}') FROM marked

-- name: drop_events
DELETE FROM log WHERE run = ANY (:runs::bigint[])

-- name: days_to_keep
-- Those of the days of which a run has not ended, or not before that time.
SELECT coalesce(array_agg(day), '{}') FROM unnest(:days::bigint[]) AS day
WHERE
    EXISTS (SELECT 1 FROM drives WHERE NOT forgotten AND run >> 36 = day AND ended_at IS NULL)
    OR EXISTS (
        SELECT 1 FROM drives WHERE NOT forgotten AND run >> 36 = day AND ended_at >= :before
    )

-- name: add_assistant
INSERT INTO assistants (id, owner, doc) VALUES (:id, :owner, :doc)

-- name: add_upload
INSERT INTO uploads (id, owner, doc, content) VALUES (:id, :owner, :doc, :content)

-- name: save_answer
INSERT INTO once (owner, route, key, digest, answer, subject, created_at)
VALUES (
    :once_owner, :once_route, :once_key, :digest, :answer, :subject,
    coalesce(:now, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)
)

-- name: message_for_update
SELECT messages.doc FROM messages JOIN threads ON threads.id = messages.thread_id
WHERE messages.id = :id AND threads.owner = :owner
FOR UPDATE OF messages

-- name: save_message
UPDATE messages SET doc = :doc WHERE id = :id

-- name: assistant_for_update
SELECT doc FROM assistants WHERE id = :id AND owner = :owner FOR UPDATE

-- name: save_assistant
UPDATE assistants SET doc = :doc WHERE id = :id

-- name: remove_assistant
DELETE FROM assistants WHERE id = :id AND owner = coalesce(:owner::text, owner)

-- name: lock_folders
-- So that two that are added at once are counted.
SELECT pg_advisory_xact_lock(hashtext('antiphon folders'))

-- name: count_folders
SELECT count(*) FROM folders WHERE owner = :owner

-- name: add_folder
INSERT INTO folders (id, owner, doc) VALUES (:id, :owner, :doc)

-- name: folder_for_update
SELECT doc FROM folders WHERE id = :id AND owner = :owner FOR UPDATE

-- name: save_folder
UPDATE folders SET doc = :doc WHERE id = :id

-- name: remove_folder
DELETE FROM folders WHERE id = :id AND owner = coalesce(:owner::text, owner)

-- name: remove_upload
DELETE FROM uploads WHERE id = :id AND owner = coalesce(:owner::text, owner)

-- name: clear_answers
UPDATE once SET answer = NULL WHERE subject = :id

-- name: remove_thread
DELETE FROM threads WHERE id = :id AND owner = coalesce(:owner::text, owner)

-- name: remove_drives
-- Before their events, so that none is added behind our back.
WITH gone AS (DELETE FROM drives WHERE thread_id = :id RETURNING run)
SELECT coalesce(array_agg(run), '{}') FROM gone

-- name: remove_actions
DELETE FROM actions WHERE run_id = ANY (
    ARRAY(SELECT id FROM runs WHERE thread_id = :id)
)

-- name: remove_runs
DELETE FROM runs WHERE thread_id = :id

-- name: remove_messages
DELETE FROM messages WHERE thread_id = :id

-- name: remove_segments
DELETE FROM segments WHERE thread_id = :id

-- name: content
SELECT owner, substring(content FROM :start::integer + 1 FOR :size::integer)
FROM uploads WHERE id = :id

-- name: has_pending_documents
SELECT 1 FROM documents WHERE status = 'pending' AND due_at <= :at LIMIT 1

-- name: claim_document
UPDATE documents SET attempts = attempts + 1, due_at = :until
WHERE upload_id = (
    SELECT upload_id FROM documents
    WHERE status = 'pending' AND due_at <= :at
    ORDER BY due_at
    LIMIT 1 FOR UPDATE SKIP LOCKED
)
RETURNING upload_id, attempts

-- name: held_document
SELECT uploads.owner
FROM documents JOIN uploads ON uploads.id = documents.upload_id
WHERE upload_id = :upload_id AND attempts = :attempt::integer AND status = 'pending'
FOR UPDATE OF documents FOR SHARE OF uploads

-- name: remove_pages
DELETE FROM pages WHERE upload_id = :upload_id

-- name: add_page
INSERT INTO pages (upload_id, number, title, content, search)
VALUES (:upload_id, :number::integer, :title, :content, :search::text::tsvector)

-- name: search_pages
-- Owner and file are words without a place, which do not count.
SELECT pages.upload_id, pages.number, pages.title, pages.content
FROM (
    SELECT seq, ts_rank(search, :ranked::text::tsquery, 1) AS score FROM pages
    WHERE search @@ :words::text::tsquery
    ORDER BY score DESC, seq
    LIMIT :limit
) AS found
JOIN pages ON pages.seq = found.seq
JOIN uploads ON uploads.id = pages.upload_id
WHERE uploads.owner = :owner
ORDER BY found.score DESC, found.seq

-- name: settle_document
UPDATE documents SET status = :status, pages = :pages::integer, cut = :cut::boolean, reason = :reason::text
WHERE upload_id = :upload_id AND attempts = :attempt::integer AND status = 'pending'

-- name: retry_documents
UPDATE documents SET status = 'pending', due_at = 0, attempts = 0, reason = NULL
WHERE status = 'failed' AND reason = ANY (:reasons::text[])

-- name: documents
SELECT upload_id, status, pages, cut, reason FROM documents WHERE upload_id = ANY (:ids::text[])

-- name: pages
SELECT number, title, content FROM pages
WHERE upload_id = :upload_id AND number > :after::integer
ORDER BY number
LIMIT :limit

-- name: add_key
INSERT INTO keys (id, owner, prefix, digest, counts_tokens, doc)
VALUES (:id, :owner, :prefix, :digest, :counts_tokens, :doc)

-- name: find_key
SELECT doc, digest FROM keys WHERE prefix = :prefix ORDER BY seq LIMIT 1

-- name: key_for_update
SELECT doc FROM keys WHERE id = :id FOR UPDATE

-- name: keys_of_for_update
-- Those that open what is the owner's, and those that this person has.
SELECT doc FROM keys
WHERE owner = :owner OR convert_from(doc, 'UTF8')::json ->> 'person_id' = :owner
ORDER BY seq
FOR UPDATE

-- name: save_key
UPDATE keys SET owner = :owner, counts_tokens = :counts_tokens, doc = :doc WHERE id = :id

-- name: keys
SELECT doc FROM keys ORDER BY seq

-- name: count_usage
-- What a request costs: it does not wait for the disk.
WITH clock AS (
    SELECT coalesce(:now, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS now
    FROM (SELECT set_config('synchronous_commit', 'off', TRUE)) AS relaxed
)
INSERT INTO counters (key_id, what, period, total)
SELECT :key_id, :what, now / :period_ms::bigint, :amount::bigint FROM clock
ON CONFLICT (key_id, what) DO UPDATE SET
    total = CASE
        WHEN excluded.period > counters.period THEN excluded.total
        ELSE counters.total + excluded.total
    END,
    period = greatest(counters.period, excluded.period)
RETURNING total, (SELECT now FROM clock)

-- name: add_meta
INSERT INTO meta (name, value) VALUES (:name, :value) ON CONFLICT (name) DO NOTHING

-- name: meta
SELECT value FROM meta WHERE name = :name

-- name: check
-- A write as any other, but that it does not wait for the disk.
INSERT INTO meta (name, value)
SELECT 'checked_at', convert_to(clock_timestamp()::text, 'UTF8')
FROM (SELECT set_config('synchronous_commit', 'off', TRUE)) AS relaxed
ON CONFLICT (name) DO UPDATE SET value = excluded.value

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

-- name: people_for_share
SELECT doc FROM people WHERE id = ANY(:ids::text[]) ORDER BY id FOR SHARE

-- name: person_by_name
SELECT doc, password FROM people WHERE folded = :folded

-- name: person_by_subject
SELECT doc, password FROM people WHERE subject = :subject

-- name: people
SELECT doc FROM people ORDER BY seq

-- name: lock_people
-- Who governs is a question about everybody.
LOCK TABLE people IN SHARE ROW EXCLUSIVE MODE

-- name: has_other_admin
SELECT EXISTS (SELECT 1 FROM people WHERE governs AND id <> :id)

-- name: live_runs
SELECT owner, doc, found FROM (
    SELECT
        owner, doc,
        row_number() OVER rows AS place_in_page,
        count(*) OVER () AS found,
        sum(octet_length(doc)) OVER rows AS bytes
    FROM (
        SELECT runs.owner, runs.doc, drives.run FROM drives JOIN runs ON runs.seq = drives.run
        WHERE
            drives.status IN ('queued', 'in_progress', 'action_required')
            AND (
                :after::text IS NULL
                OR drives.run < (SELECT run FROM drives WHERE id = :after::text)
            )
        ORDER BY drives.run DESC
        LIMIT :limit
    ) AS listed
    WINDOW rows AS (ORDER BY run DESC ROWS UNBOUNDED PRECEDING)
) AS measured
WHERE bytes <= :cap::bigint OR place_in_page = 1
ORDER BY place_in_page

-- name: usage
SELECT
    day, owner, model, sum(runs)::bigint, sum(unpriced)::bigint, sum(input_tokens)::bigint,
    sum(output_tokens)::bigint, sum(cached_tokens)::bigint, sum(reasoning_tokens)::bigint, sum(cost),
    sum(audio_seconds)
FROM spent
WHERE day >= :since AND (:owner::text IS NULL OR owner = :owner::text)
GROUP BY day, owner, model
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
SELECT doc FROM projects WHERE id = :id FOR UPDATE

-- name: projects
SELECT doc FROM projects ORDER BY seq

-- name: save_provider_key
INSERT INTO provider_keys (owner, provider, sealed, doc)
VALUES (:owner, :provider, :encrypted, :doc)
ON CONFLICT (owner, provider) DO UPDATE SET sealed = excluded.sealed, doc = excluded.doc

-- name: provider_keys
SELECT doc FROM provider_keys
WHERE :owner::text IS NULL OR owner = :owner::text
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
WITH RECURSIVE named AS (
    SELECT least(
        (SELECT min(owner) FROM threads WHERE owner > :after AND owner >= :from),
        (SELECT min(owner) FROM uploads WHERE owner > :after AND owner >= :from),
        (SELECT min(owner) FROM assistants WHERE owner > :after AND owner >= :from),
        (SELECT min(owner) FROM folders WHERE owner > :after AND owner >= :from),
        (SELECT min(owner) FROM provider_keys WHERE owner > :after AND owner >= :from),
        (SELECT min(owner) FROM personal WHERE owner > :after AND owner >= :from),
        (SELECT min(owner) FROM webhooks WHERE owner > :after AND owner >= :from),
        (SELECT min(owner) FROM schedules WHERE owner > :after AND owner >= :from)
    ) AS owner
    UNION ALL
    SELECT least(
        (SELECT min(owner) FROM threads WHERE owner > named.owner),
        (SELECT min(owner) FROM uploads WHERE owner > named.owner),
        (SELECT min(owner) FROM assistants WHERE owner > named.owner),
        (SELECT min(owner) FROM folders WHERE owner > named.owner),
        (SELECT min(owner) FROM provider_keys WHERE owner > named.owner),
        (SELECT min(owner) FROM personal WHERE owner > named.owner),
        (SELECT min(owner) FROM webhooks WHERE owner > named.owner),
        (SELECT min(owner) FROM schedules WHERE owner > named.owner)
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
WHERE owner IS NOT NULL AND (:only::text IS NULL OR owner = :only::text)

-- name: runs_to_erase
SELECT coalesce(array_agg(seq), '{}')
FROM (SELECT seq FROM runs WHERE owner = :owner LIMIT :limit) AS theirs

-- name: drop_drives
DELETE FROM drives WHERE run = ANY (:runs::bigint[])

-- name: drop_actions
DELETE FROM actions
WHERE run_id = ANY (ARRAY(SELECT id FROM runs WHERE seq = ANY (:runs::bigint[])))

-- name: drop_runs
DELETE FROM runs WHERE seq = ANY (:runs::bigint[])

-- name: threads_to_erase
SELECT coalesce(array_agg(id), '{}')
FROM (SELECT id FROM threads WHERE owner = :owner ORDER BY seq LIMIT 50) AS theirs

-- name: erase_messages
DELETE FROM messages WHERE seq = ANY (
    ARRAY(SELECT seq FROM messages WHERE thread_id = ANY (:threads::text[]) LIMIT :limit)
)

-- name: erase_uploads
DELETE FROM uploads
WHERE seq = ANY (ARRAY(SELECT seq FROM uploads WHERE owner = :owner LIMIT :limit))

-- name: erase_assistants
DELETE FROM assistants
WHERE seq = ANY (ARRAY(SELECT seq FROM assistants WHERE owner = :owner LIMIT :limit))

-- name: erase_folders
DELETE FROM folders
WHERE seq = ANY (ARRAY(SELECT seq FROM folders WHERE owner = :owner LIMIT :limit))

-- name: erase_answers
DELETE FROM once
WHERE ctid = ANY (ARRAY(SELECT ctid FROM once WHERE owner = :owner LIMIT :limit))

-- name: erase_usage
DELETE FROM spent
WHERE ctid = ANY (ARRAY(SELECT ctid FROM spent WHERE owner = :owner LIMIT :limit))

-- name: erase_provider_keys
DELETE FROM provider_keys
WHERE ctid = ANY (ARRAY(SELECT ctid FROM provider_keys WHERE owner = :owner LIMIT :limit))

-- name: erase_counters
DELETE FROM counters
WHERE key_id = ANY (ARRAY(SELECT id FROM keys WHERE owner = :owner))

-- name: families
SELECT id, family FROM threads WHERE family IS NOT NULL AND id = ANY (:ids::text[])

-- name: import_thread
INSERT INTO threads (id, owner, version, changes, parent_id, words, search, doc, family)
VALUES (:id, :owner, :version, 0, :parent_id, :words, :search::text::tsvector, :doc, :family)

-- name: add_message
INSERT INTO messages (id, thread_id, number, role, size, tokens, chat, words, search, doc)
VALUES (
    :id, :thread_id, :number, :role, :size, :tokens, :chat, '', :search::text::tsvector, :doc
)

-- name: search_messages
WITH found AS MATERIALIZED (
    SELECT seq, thread_id, doc FROM messages
    WHERE search @@ :words::text::tsquery AND seq < :before
    ORDER BY seq DESC
    LIMIT :limit
),
measured AS (
    SELECT
        seq, thread_id, doc, count(*) OVER () AS number,
        row_number() OVER (ORDER BY seq DESC) AS place,
        sum(octet_length(doc)) OVER (ORDER BY seq DESC) AS bytes
    FROM found
)
SELECT measured.seq, measured.doc, thread.doc, number
FROM measured
-- By id, for the owner may have many threads.
CROSS JOIN LATERAL (SELECT owner, doc FROM threads WHERE id = measured.thread_id LIMIT 1) AS thread
WHERE thread.owner = :owner AND (bytes <= :cap::bigint OR place = 1)
ORDER BY place

-- name: plan_each_time
-- A frequent word is looked for in the newest messages, a rare one in the index.
SET LOCAL plan_cache_mode = force_custom_plan

-- name: search_titles
WITH found AS MATERIALIZED (
    SELECT seq, owner, doc FROM threads
    WHERE search @@ :words::text::tsquery
    ORDER BY seq DESC
    LIMIT :limit
)
SELECT doc FROM found WHERE owner = :owner ORDER BY seq DESC

-- name: live_runs_with_status
SELECT run FROM drives
WHERE status IN ('queued', 'in_progress', 'action_required') AND status = :status

-- name: threads_with_words
SELECT thread_id FROM messages WHERE messages.search @@ :words::text::tsquery
UNION
SELECT titled.id FROM threads AS titled WHERE titled.search @@ :words::text::tsquery

-- name: count_tags
-- The bytes are those of "archived", "tags" and "temporary" with their values, as `reads.py` has them.
SELECT
    word,
    count(DISTINCT coalesce(family, id)) FILTER (WHERE NOT is_archived),
    count(DISTINCT coalesce(family, id)) FILTER (WHERE is_archived)
FROM (
    SELECT
        family,
        id,
        position('\x226172636869766564223a74727565'::bytea IN doc) > 0 AS is_archived,
        json_array_elements_text(thread_document(doc) -> 'tags') AS word
    FROM threads
    WHERE owner = :owner
        AND position('\x2274616773223a5b22'::bytea IN doc) > 0
        AND position('\x2274656d706f72617279223a74727565'::bytea IN doc) = 0
) AS tagged
WHERE word > :after::text COLLATE "C"
GROUP BY word
ORDER BY word COLLATE "C"
LIMIT :limit

-- name: index_progress
SELECT (SELECT count(*) FROM messages WHERE search IS NULL), (SELECT count(*) FROM messages)
WHERE EXISTS (SELECT 1 FROM messages WHERE search IS NULL)

-- name: messages_to_index
-- Without the index that `antiphon migrate` makes, each look would read all messages.
SELECT messages.seq, threads.owner, messages.doc
FROM messages LEFT JOIN threads ON threads.id = messages.thread_id
WHERE messages.search IS NULL AND to_regclass('messages_not_indexed') IS NOT NULL
ORDER BY messages.seq DESC
LIMIT :limit

-- name: index_messages
-- A message whose thread has a new owner is indexed next time.
UPDATE messages SET search = new.search::tsvector
FROM unnest(:seqs::bigint[], :owners::text[], :searches::text[]) AS new (seq, owner, search)
WHERE messages.seq = new.seq AND messages.search IS NULL AND NOT EXISTS (
    SELECT 1 FROM threads WHERE threads.id = messages.thread_id AND threads.owner <> new.owner
)

-- name: titles_to_index
SELECT seq, owner, doc FROM threads
WHERE search IS NULL AND to_regclass('threads_not_indexed') IS NOT NULL
ORDER BY seq DESC
LIMIT :limit

-- name: index_titles
UPDATE threads SET search = new.search::tsvector
FROM unnest(:seqs::bigint[], :owners::text[], :docs::bytea[], :searches::text[])
    AS new (seq, owner, doc, search)
WHERE threads.seq = new.seq AND threads.owner = new.owner AND threads.doc = new.doc


-- name: threads_to_join
SELECT doc, changes FROM threads WHERE id = ANY (:ids::text[])

-- name: add_run
WITH begun AS (
    INSERT INTO runs (seq, id, owner, thread_id, doc)
    VALUES ((:now::bigint / 86400000 << 36) + nextval('run_numbers'), :id, :owner, :thread_id, :doc)
    RETURNING seq
)
INSERT INTO drives (
    run, id, thread_id, status, epoch, wanted, wanted_at, worker, due_at, last_event,
    turn_began_after, kept_after, fresh, ended_at, key_id, trace, destination
)
SELECT
    seq, :id, :thread_id, :status, :epoch, :wanted, :wanted_at, :worker, :due_at, :last_event,
    :turn_began_after, :kept_after, :fresh, :ended_at, :key_id, :trace, :destination
FROM begun

-- name: import_events
INSERT INTO log (run, first, last, lines)
SELECT run, :first, :last, :lines FROM drives WHERE id = :run_id

-- name: import_action
INSERT INTO actions (id, run_id, turn, tool_call_id, status, doc)
VALUES (:id, :run_id, :turn, :tool_call_id, :status, :doc)

-- name: import_audit_entry
INSERT INTO acts (id, owner, doc) VALUES (:id, :owner, :doc) ON CONFLICT (id) DO NOTHING

-- name: import_usage
-- What is lacking to the larger of each number goes into one part.
INSERT INTO spent (
    day, owner, model, part, runs, unpriced,
    input_tokens, output_tokens, cached_tokens, reasoning_tokens, cost, audio_seconds
)
SELECT
    :day, :owner, :model, 0,
    greatest(:runs::bigint - coalesce(sum(runs), 0), 0),
    greatest(:unpriced::bigint - coalesce(sum(unpriced), 0), 0),
    greatest(:input_tokens::bigint - coalesce(sum(input_tokens), 0), 0),
    greatest(:output_tokens::bigint - coalesce(sum(output_tokens), 0), 0),
    greatest(:cached_tokens::bigint - coalesce(sum(cached_tokens), 0), 0),
    greatest(:reasoning_tokens::bigint - coalesce(sum(reasoning_tokens), 0), 0),
    greatest(:cost::float8 - coalesce(sum(cost), 0), 0),
    greatest(:audio_seconds::float8 - coalesce(sum(audio_seconds), 0), 0)
FROM spent
WHERE day = :day AND owner = :owner AND model = :model
ON CONFLICT (day, owner, model, part) DO UPDATE SET
    runs = spent.runs + excluded.runs,
    unpriced = spent.unpriced + excluded.unpriced,
    input_tokens = spent.input_tokens + excluded.input_tokens,
    output_tokens = spent.output_tokens + excluded.output_tokens,
    cached_tokens = spent.cached_tokens + excluded.cached_tokens,
    reasoning_tokens = spent.reasoning_tokens + excluded.reasoning_tokens,
    cost = spent.cost + excluded.cost,
    audio_seconds = spent.audio_seconds + excluded.audio_seconds

-- name: transfer_assistants
UPDATE assistants SET owner = :to WHERE seq = ANY (
    ARRAY(SELECT seq FROM assistants WHERE owner = :owner ORDER BY seq LIMIT :limit)
)

-- name: transfer_folders
UPDATE folders SET owner = :to WHERE seq = ANY (
    ARRAY(SELECT seq FROM folders WHERE owner = :owner ORDER BY seq LIMIT :limit)
)

-- name: transfer_uploads
UPDATE uploads SET owner = :to WHERE seq = ANY (
    ARRAY(SELECT seq FROM uploads WHERE owner = :owner ORDER BY seq LIMIT :limit)
)

-- name: transfer_threads
WITH given AS (
    UPDATE threads SET
        owner = :to, changes = changes + 1,
        search = ts_delete(search, :owner_word) || :to_word::text::tsvector
    WHERE seq = ANY (
        ARRAY(SELECT seq FROM threads WHERE owner = :owner ORDER BY seq LIMIT :limit)
    )
    RETURNING id
),
found_for_them AS (
    UPDATE messages SET search = ts_delete(search, :owner_word) || :to_word::text::tsvector
    WHERE thread_id = ANY (ARRAY(SELECT id FROM given))
),
with_them AS (
    UPDATE runs SET owner = :to WHERE thread_id = ANY (ARRAY(SELECT id FROM given)) RETURNING 1
)
SELECT (SELECT count(*) FROM given)

-- name: lock_webhooks
-- So that two that are added at once are counted.
SELECT pg_advisory_xact_lock(hashtext('antiphon webhooks'))

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
WHERE :owner::text IS NULL OR owner = :owner::text
ORDER BY seq

-- name: webhook
SELECT owner, sealed, doc FROM webhooks WHERE id = :id

-- name: webhook_for_update
SELECT owner, sealed, doc FROM webhooks WHERE id = :id
FOR NO KEY UPDATE

-- name: add_delivery
INSERT INTO deliveries (
    webhook_id, id, owner, run_id, type, status, claimed, due_at, attempts, created_at, body, outcome
)
VALUES (
    :webhook_id, :id, :owner, :run_id, :type, 'pending', FALSE, :at, 0, :at, :body, :outcome
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
    AND (:status::text IS NULL OR status = :status::text)
ORDER BY seq DESC
LIMIT :limit

-- name: resend_delivery
UPDATE deliveries SET status = 'pending', claimed = FALSE, due_at = :at, outcome = :outcome
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
    ) < CASE WHEN failing THEN 1 ELSE :most::bigint END
ORDER BY
    failing,
    (SELECT min(due_at) FROM deliveries WHERE webhook_id = webhooks.id AND status = 'pending')
LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED

-- name: claim_deliveries
-- In their order within a run. What another worker has claimed since is counted once more.
UPDATE deliveries SET claimed = TRUE, attempts = attempts + 1, due_at = :until
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
        SELECT greatest(least(:limit::bigint, :most::bigint - count(*)), 0) FROM deliveries
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
UPDATE deliveries SET status = :status, claimed = FALSE, due_at = :due_at, outcome = :outcome
WHERE webhook_id = :webhook_id AND id = :id

-- name: postpone_deliveries
UPDATE deliveries SET due_at = :due_at
WHERE
    webhook_id = :webhook_id AND run_id = :run_id AND status = 'pending' AND NOT claimed
    AND due_at < :due_at AND run_id <> ''

-- name: expire_deliveries
DELETE FROM deliveries WHERE seq = ANY (ARRAY(
    SELECT seq FROM deliveries WHERE created_at < :before ORDER BY created_at LIMIT :limit
))

-- name: erase_deliveries
DELETE FROM deliveries
WHERE ctid = ANY (ARRAY(SELECT ctid FROM deliveries WHERE owner = :owner LIMIT :limit))

-- name: erase_webhooks
DELETE FROM webhooks
WHERE ctid = ANY (ARRAY(SELECT ctid FROM webhooks WHERE owner = :owner LIMIT :limit))

-- name: lock_shares
-- So that two that are added at once are counted.
SELECT pg_advisory_xact_lock(hashtext('antiphon shares'))

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
WHERE owner = :owner AND thread_id = coalesce(:thread_id::text, thread_id) AND expires_at > :at
ORDER BY seq DESC

-- name: share
SELECT doc FROM shares WHERE id = :id AND owner = :owner AND expires_at > :at

-- name: share_for_update
SELECT doc FROM shares WHERE id = :id AND owner = :owner AND expires_at > :at
FOR NO KEY UPDATE

-- name: save_share
UPDATE shares SET expires_at = :expires_at, doc = :doc, snapshot = :snapshot WHERE id = :id

-- name: remove_share
DELETE FROM shares WHERE id = :id AND owner = :owner

-- name: open_share
SELECT doc, snapshot FROM shares WHERE token_hash = :token_hash AND expires_at > :at

-- name: lock_chat_imports
-- So that two that are added at once are counted.
SELECT pg_advisory_xact_lock(hashtext('antiphon chat imports'))

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
SELECT doc FROM chat_imports WHERE id = :id AND owner = :owner FOR UPDATE

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
SELECT doc FROM assistants WHERE id = :id AND owner = :owner FOR UPDATE

-- name: save_published
UPDATE assistants SET doc = :doc WHERE id = :id

-- name: count_published
SELECT count(*) FROM assistants
WHERE owner = :owner AND (thread_document(doc) ->> 'published_at') IS NOT NULL

-- name: published_place
SELECT seq FROM assistants
WHERE id = :id AND (thread_document(doc) ->> 'published_at') IS NOT NULL

-- name: published_assistants
SELECT owner, doc FROM assistants
WHERE
    (thread_document(doc) ->> 'published_at') IS NOT NULL
    AND owner = coalesce(:owner::text, owner) AND seq < :place
ORDER BY seq DESC
LIMIT :limit

-- name: expire_shares
DELETE FROM shares WHERE seq = ANY (ARRAY(
    SELECT seq FROM shares WHERE expires_at <= :at ORDER BY expires_at LIMIT :limit
))

-- name: lock_schedules
-- So that two that are added at once are counted.
SELECT pg_advisory_xact_lock(hashtext('antiphon schedules'))

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
WHERE :owner::text IS NULL OR owner = :owner::text
ORDER BY seq

-- name: schedule
SELECT owner, key_id, destination, doc, changes FROM schedules WHERE id = :id

-- name: schedule_for_update
SELECT owner, key_id, destination, doc FROM schedules WHERE id = :id
FOR NO KEY UPDATE

-- name: due_schedules
SELECT owner, key_id, destination, doc FROM schedules
WHERE next_at <= :at::bigint AND id > :after
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
WHERE schedule_id = :schedule_id AND seq < :place::bigint
ORDER BY seq DESC
LIMIT :limit

-- name: expire_occurrences
DELETE FROM occurrences WHERE seq = ANY (ARRAY(
    SELECT seq FROM occurrences WHERE created_at < :before ORDER BY created_at LIMIT :limit
))

-- name: erase_occurrences
DELETE FROM occurrences
WHERE ctid = ANY (ARRAY(SELECT ctid FROM occurrences WHERE owner = :owner LIMIT :limit))

-- name: erase_schedules
DELETE FROM schedules
WHERE ctid = ANY (ARRAY(SELECT ctid FROM schedules WHERE owner = :owner LIMIT :limit))

-- name: personal
SELECT doc FROM personal WHERE owner = :owner

-- name: lock_personal
-- There may be no row yet, so that a row cannot be locked.
SELECT pg_advisory_xact_lock(hashtext('antiphon personal'), hashtext(:owner))

-- name: save_personal
INSERT INTO personal (owner, doc) VALUES (:owner, :doc)
ON CONFLICT (owner) DO UPDATE SET doc = excluded.doc

-- name: remove_personal
DELETE FROM personal WHERE owner = :owner

-- name: erase_personal
DELETE FROM personal WHERE owner = :owner
