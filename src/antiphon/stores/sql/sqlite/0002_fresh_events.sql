-- What was appended lately, as in `log`, into which it is folded from time to time. A batch holds
-- events of many runs, and the index of `log` is as wide as the runs are many: each batch touched a
-- page for each of them. This table is small, so a batch touches a few pages, and what is folded is
-- one row a run. All numbers here are above those of the same run in `log`.

CREATE TABLE fresh (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    run INTEGER NOT NULL REFERENCES runs (seq) ON DELETE CASCADE,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    writer INTEGER NOT NULL,
    lines BLOB NOT NULL,
    UNIQUE (run, last)
) STRICT;
