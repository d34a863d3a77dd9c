"""Readers of files: each yields rows, and says of every row it cannot use why."""
