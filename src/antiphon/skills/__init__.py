"""Skills, instructions and slash commands that folders bring to a conversation."""
