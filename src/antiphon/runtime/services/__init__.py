"""The operations of the API, carried out."""
