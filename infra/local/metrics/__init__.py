"""What the local stack shows: a Prometheus endpoint and a screen."""
