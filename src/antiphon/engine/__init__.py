"""Pure decisions: what a run does next, and why. No I/O, no clock."""
