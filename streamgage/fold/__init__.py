"""From columns to states by (key, window, lane), and how these stand in items."""
