"""Real processes, real sockets, real kills; and pure functions that judge what is left.

- `plain`: HTTP and server-sent events by hand, so that nothing of the SDK helps or hides.
- `servers`, `forge`, `fleet`: processes that serve, started, killed, frozen, and kept in number.
- `record`: what the clients asked for, and what they were told, as JSON lines.
- `final`, `databases`, `postgres_database`: what is in the database, by statements of our own.
- `checks`: record and database in, five lists of complaints out.
- `clients`, `chaos`: who asks, and who kills.
- `cluster`, `troubles`: servers with PostgreSQL, Redis and a network, and what befalls them.
- `buggy_server`, `bugs`: servers that do it wrong, which must be found.
- `pair`: two workers in this process, for tests that say what the model says.
"""
