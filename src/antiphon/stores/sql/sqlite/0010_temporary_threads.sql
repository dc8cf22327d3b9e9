-- Temporary threads are few, and are looked for by the hour to be deleted.
CREATE INDEX temporary_threads ON threads (seq)
    WHERE instr(doc, CAST('"temporary":true' AS BLOB)) > 0;
