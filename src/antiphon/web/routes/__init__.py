"""Routes of the web chat: one module for each resource."""
