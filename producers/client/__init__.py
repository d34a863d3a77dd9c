"""The producer: events into aggregated records, and these into the stream."""
