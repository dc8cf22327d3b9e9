"""MCP: servers as tools of a program, and Antiphon as a server."""
