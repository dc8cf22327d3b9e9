"""The terminal chat: loaded when it is started, and by nothing else."""
