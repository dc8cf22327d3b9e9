"""Antiphon as an MCP server."""
