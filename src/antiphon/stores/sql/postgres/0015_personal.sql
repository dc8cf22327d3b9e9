-- The personal instructions and the memories of an owner, in one row.
CREATE TABLE personal (
    owner TEXT COLLATE "C" PRIMARY KEY,
    doc BYTEA NOT NULL
);
