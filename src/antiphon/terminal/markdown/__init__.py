"""Markdown as styled lines, while it is still coming."""
