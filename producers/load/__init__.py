"""A load: events of any pipeline's sources, due by a schedule, sent by processes of their own, and tallied."""
