"""Cost of Antiphon, side by side with its baselines: `make bench`."""
