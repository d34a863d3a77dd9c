"""What takes events by HTTP, and says so once they are durable."""
