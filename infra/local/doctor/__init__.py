"""Reads a home over, and says what is damaged."""
