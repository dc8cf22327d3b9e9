"""Tests with real processes, sockets and kills, and pure functions that check the final state.

- `raw_http`: HTTP and server-sent events without the SDK, so that it cannot hide faults.
- `servers`, `forge`, `fleet`: servers that are started, killed, frozen and replaced.
- `record`: the requests of the clients and their outcomes, as JSON lines.
- `final_state`, `databases`, `postgres_database`: the content of the database, by separate SQL.
- `checks`: compare the record with the database, and return five lists of complaints.
- `clients`, `chaos`: clients that send requests, and the loop that kills servers.
- `cluster`, `troubles`: servers with PostgreSQL, Redis and a network, and their failures.
- `buggy_server`, `bugs`: servers and stores with bugs that the checks must find.
- `pair`: two workers in this process, with a model whose replies the test sets.
"""
