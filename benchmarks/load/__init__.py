"""Open-loop load for the local stack, and what is seen of the stack under it."""
