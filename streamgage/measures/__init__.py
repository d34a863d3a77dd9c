"""What is kept of a field's values in a window, and how it is read; windows; exact numbers."""
