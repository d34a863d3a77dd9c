"""The local stack: its processes, from the one template."""
