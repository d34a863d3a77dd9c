"""Expressions: filters and derived values, in a small typed language without loops: docs/expressions.md."""
