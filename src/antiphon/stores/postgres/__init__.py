"""The store of a cluster: one PostgreSQL."""
