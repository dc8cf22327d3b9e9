"""MCP servers as tools.

`toolbox` is the way in; it and the words (`config`, `offers`, `hosting`, `forms`) cost nothing to
import. What speaks to the `mcp` library is loaded by `server`, when a server is started.
"""
