-- Runs that nobody can take now may wait for long: they cost those nothing that somebody can take. All
-- runs are looked through once; while that lasts, a second for some millions of them, none is changed.
CREATE INDEX queue_of_destination ON drives (destination, wanted_at, run)
    WHERE status = 'queued' AND wanted;
