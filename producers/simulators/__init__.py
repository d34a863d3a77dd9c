"""Seeded telemetry, and the totals that it adds up to."""
