"""Real services for tests: PostgreSQL and Redis servers that tests start, kill and freeze.

Each has its own folder, listens on loopback, and ends with the test process.
"""
