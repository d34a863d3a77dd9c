"""From a bundle to a stack in an account, and back."""
