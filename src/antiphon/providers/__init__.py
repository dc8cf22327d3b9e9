"""Providers of models: one streamed reply each, as chunks."""
