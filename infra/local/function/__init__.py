"""The local Lambda: sandboxes of the real runtime client."""
