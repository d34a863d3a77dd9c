"""The template that deploys, and the bundle of the function."""
