"""Streamed Markdown as styled lines."""
