"""Services that execute and audit the operations of administration."""
