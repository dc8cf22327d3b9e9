"""Limits that the HTTP API and the web chat share: work at once, unsent bytes, rates."""
