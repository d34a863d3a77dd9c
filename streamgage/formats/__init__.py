"""How things stand on the wire and in records: one module a format, encoder and decoder side by side."""
