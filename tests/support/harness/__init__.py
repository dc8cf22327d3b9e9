"""Real processes, real sockets, real kills; and pure functions that judge what is left.

- `raw_http`: HTTP and server-sent events by hand, so that nothing of the SDK helps or hides.
- `servers`, `forge`, `fleet`: processes that serve, started, killed, frozen, and kept in number.
- `record`: the requests of the clients and their outcomes, as JSON lines.
- `final_state`, `databases`, `postgres_database`: the content of the database, by our own SQL.
- `checks`: record and database in, five lists of complaints out.
- `clients`, `chaos`: clients that send requests, and the loop that kills servers.
- `cluster`, `troubles`: servers with PostgreSQL, Redis and a network, and their failures.
- `buggy_server`, `bugs`: servers and stores with bugs that the checks must find.
- `pair`: two workers in this process, with a model whose replies the test sets.
"""
