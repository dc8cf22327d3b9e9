"""Names of the commands, a line on each, and where each is."""

from __future__ import annotations

COMMANDS = {
    "chat": "the terminal chat; also `antiphon` without a command",
    "ask": "one answer to stdout; reads stdin",
    "work": "run the tools of conversations that wait for them",
    "acp": "the chat of an editor: Zed, JetBrains, Neovim",
    "serve": "the backend, for clients on this machine or elsewhere",
    "up": "the backend and the web chat on one port",
    "web": "the web chat alone, in front of a backend",
    "threads": "list, show, export or delete conversations",
    "folders": "folders of conversations: list, create, change, delete",
    "import": "import conversations of ChatGPT, Claude or Open WebUI",
    "memory": "what assistants know about you: notes, and instructions for all",
    "runs": "list runs, show what one did and how long it took, compare two",
    "mcp": "MCP servers as tools, and Antiphon as an MCP server",
    "skills": "skills, instructions and slash commands: list, add, trust",
    "trust": "show and trust what a folder brings: settings, MCP servers, skills",
    "keys": "create, list, limit or revoke the server's keys",
    "projects": "owners whose data several keys and people share",
    "people": "create, list or remove people who may log in to the web chat",
    "owners": "list the owners of data; export, import or erase all data of one",
    "provider-keys": "owners' own keys for providers",
    "schedules": "messages that are sent at set times; their runs",
    "webhooks": "addresses that are sent events of runs; deliveries",
    "audit": "the audit log of administrators' actions",
    "models": "list the available models",
    "config": "the settings in force, and their origins",
    "doctor": "check the installation, and say what to do",
    "migrate": "migrate the database to this version, or move it",
    "backup": "copy the SQLite database to a file, while it is in use",
    "restore": "make a database of a backup",
    "completion": "print a script for shells to complete commands and flags",
}
"""Each is a module of its name in `antiphon.cli`, or a class of such a module."""

CLASSES = {
    "serve": "serve:Serve",
    "up": "web_chat:Up",
    "web": "web_chat:Web",
    "import": "import_chats:ImportChats",
    "keys": "accounts:Keys",
    "projects": "accounts:Projects",
    "people": "accounts:People",
    "owners": "owners:Owners",
    "provider-keys": "owners:ProviderKeys",
    "audit": "owners:Audit",
    "models": "config:Models",
    "config": "config:Config",
    "migrate": "database:Migrate",
    "backup": "database:Backup",
    "restore": "database:Restore",
}
"""The commands that share a module with others, by module and class."""

ABOUT = ("-h", "--help", "--version")
"""Flags of the program itself."""
