"""Questions, and their answers."""
