"""From the bytes of a batch to columns; what cannot be read is poison, with its reason."""
