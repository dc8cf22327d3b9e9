-- Where the words of a run go: a worker claims only what it would send to the same place. Runs of the
-- version before, and those it makes from now on, have none.
ALTER TABLE runs ADD COLUMN destination TEXT NOT NULL DEFAULT '';

-- Runs that nobody can take now may wait for long: they cost those nothing that somebody can take.
CREATE INDEX queue_of_destination ON runs (destination, wanted_at, seq)
    WHERE status = 'queued' AND wanted;
