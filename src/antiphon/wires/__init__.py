"""Encoders of our events for the protocols of other clients; pure, one per wire.

Each folds a run's events from the first one on, so a replay equals the live stream and may resume
wherever a connection broke.
"""
