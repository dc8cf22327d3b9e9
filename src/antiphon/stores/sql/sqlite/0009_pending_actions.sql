-- Calls that wait are few among all calls, and are asked for without their run.
CREATE INDEX pending_actions ON actions (seq) WHERE status = 'pending';

-- No text in a document can hold these bytes: its quotation marks are escaped.
CREATE INDEX pinned_threads ON threads (owner, seq)
    WHERE instr(doc, CAST('"pinned":true' AS BLOB)) > 0;
