"""Input of the chat: keyboards, keys, completion of paths, history."""
