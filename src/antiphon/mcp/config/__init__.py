"""MCP servers as files configure them: found, read, and trusted."""
