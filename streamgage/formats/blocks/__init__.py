"""Blocks: many events of one source in a user record, column by column."""
