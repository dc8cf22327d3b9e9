"""The operations of administration, carried out and audited."""
