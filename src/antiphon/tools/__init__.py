"""Tools of a program: their schemas, their consent, their calls."""
