"""Exports of other chats, converted to archives that an import of owners reads."""
