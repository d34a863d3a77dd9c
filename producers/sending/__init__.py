"""What a program sends with: ``Producer``, its settings, its errors."""
