"""Our events in the words of other people's clients: pure encoders, one to a wire.

Each is a fold over a run's events from the first one on, so a replay tells what the live stream
told, and may go on from wherever a connection broke.
"""
