"""The event source mapping, as Lambda does it."""
