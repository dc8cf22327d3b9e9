"""Clients of the API, over HTTP or embedded, and the loop of a conversation."""
