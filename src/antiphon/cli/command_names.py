"""Names of the commands, and a line on each."""

from __future__ import annotations

COMMANDS = {
    "chat": "the terminal chat, which `antiphon` alone opens too",
    "ask": "one answer to stdout; reads stdin",
    "serve": "the backend, for clients on this machine or elsewhere",
    "up": "the backend and the web chat on one port",
    "web": "the web chat alone, in front of a backend",
    "threads": "list, show, export or delete conversations",
    "mcp": "MCP servers as tools of yours, and Antiphon as an MCP server",
    "trust": "see what a folder's settings and servers are, and have them count",
    "keys": "make, list, limit or revoke the server's keys",
    "projects": "owners whose things several keys and people share",
    "people": "make, list or remove the people who may log in to the web chat",
    "owners": "list who has things here; export, import or erase all of one",
    "provider-keys": "keys that owners have of their own at providers",
    "audit": "what administrators have done",
    "models": "the models that can be named here",
    "config": "the settings in force, and where each comes from",
    "doctor": "what is there, what is missing, and what to do about it",
    "migrate": "bring the database to this version's form",
    "backup": "copy the SQLite database to a file, while it is in use",
    "restore": "make a database of a backup",
    "completion": "a script by which a shell completes commands and flags",
}
"""Each is a module of its name in `antiphon.cli`, with `_` for a dash."""

ABOUT = ("-h", "--help", "--version")
"""What is said to the program itself, and to no command."""
