"""Buses: they wake readers of a topic, in this process or in all."""
