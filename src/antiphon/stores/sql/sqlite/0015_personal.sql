-- The personal instructions and the memories of an owner, in one row.
CREATE TABLE personal (
    owner TEXT NOT NULL PRIMARY KEY,
    doc BLOB NOT NULL
) STRICT, WITHOUT ROWID;
