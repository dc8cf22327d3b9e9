"""The terminal chat. Imported only when it is started."""
