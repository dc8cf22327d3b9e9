"""The Agent Client Protocol: the chat of an editor, over stdin and stdout."""
