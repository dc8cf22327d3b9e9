"""Real processes, real sockets, real kills; and pure functions that judge what is left.

- `plain`: HTTP and server-sent events by hand, so that nothing of the SDK helps or hides.
- `servers`, `forge`: processes that serve, started, killed, frozen.
- `record`: what the clients asked for, and what they were told, as JSON lines.
- `final`: the database as it is when everything is over.
- `checks`: record and database in, five lists of complaints out.
- `clients`, `chaos`: who asks, and who kills.
"""
