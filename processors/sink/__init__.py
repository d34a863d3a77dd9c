"""The fenced sink, and the stores that it writes through."""
