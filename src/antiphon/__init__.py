"""Antiphon: a self-hosted assistant runtime in which tools run where your code lives."""

__version__ = "0.1.0"
