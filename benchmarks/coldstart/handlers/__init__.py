"""Handlers that cold starts are compared with. Each file is copied into a bundle of its own."""
