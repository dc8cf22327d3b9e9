"""Data that crosses every border: no I/O, no clock."""
