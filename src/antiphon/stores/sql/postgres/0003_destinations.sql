-- Where the words of a run go: a worker claims only what it would send to the same place. Runs of the
-- version before, and those it makes from now on, have none. The rows stay as they are: this takes no
-- longer the more there are.
ALTER TABLE drives ADD COLUMN destination TEXT COLLATE "C" NOT NULL DEFAULT '';
