"""MCP servers as tools: started, asked, watched and closed."""
