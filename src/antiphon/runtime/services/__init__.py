"""Services that execute the operations of the API."""
