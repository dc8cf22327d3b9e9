"""Stores of runs and accounts: SQLite, PostgreSQL, memory, and a cache before them."""
