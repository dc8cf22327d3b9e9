-- Archived and tagged threads are few among all threads, and are asked for apart. No text in a document
-- can hold these bytes: its quotation marks are escaped.
CREATE INDEX archived_threads ON threads (owner, seq)
    WHERE instr(doc, CAST('"archived":true' AS BLOB)) > 0;

CREATE INDEX tagged_threads ON threads (owner, seq)
    WHERE instr(doc, CAST('"tags":["' AS BLOB)) > 0;
