"""Every operation of the HTTP API as a type, stated once."""
