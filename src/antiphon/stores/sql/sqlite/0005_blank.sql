-- Empty but while an owner is erased: zeros that lie where things were that are gone.
CREATE TABLE blank (
    seq INTEGER PRIMARY KEY,
    zeros BLOB NOT NULL
) STRICT;
