"""Real services for tests: a PostgreSQL and a Redis of one's own, started, killed, frozen.

Each lives in a folder of its own, listens on loopback, and dies with the test process.
"""
