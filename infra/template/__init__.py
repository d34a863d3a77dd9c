"""The one SAM template: how it is read, translated, watched and judged."""
