-- Published assistants are few among those of all owners, and everyone lists them.
CREATE INDEX published_assistants ON assistants (seq)
    WHERE json_extract(CAST(doc AS TEXT), '$.published_at') IS NOT NULL;
