"""A cache of contexts and log tails in front of a store."""
