"""The reference implementation of a store, which forgets everything at its end."""
