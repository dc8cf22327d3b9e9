"""One process's runtime: the worker, its turns, the event log, and the services of the API."""
