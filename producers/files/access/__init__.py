"""The layouts of access logs that servers really write, each recognised by its structure alone."""
