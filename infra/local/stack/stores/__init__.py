"""Stream, tables and checkpoints of a home: whether they belong together, and what follows where they do not."""
