-- When a worker must look at an import: at the end of its claim, when it was abandoned, or at once
-- as long as one that has ended has pieces of its file; never, if there is nothing left to do.
ALTER TABLE chat_imports ADD COLUMN due_at INTEGER;

UPDATE chat_imports SET due_at = 0 WHERE active;

CREATE INDEX due_chat_imports ON chat_imports (due_at, seq) WHERE due_at IS NOT NULL;

DROP INDEX active_chat_imports;
