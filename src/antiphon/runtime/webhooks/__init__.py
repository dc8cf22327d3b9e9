"""Webhooks: the service behind their operations, and the deliverer of their events."""
