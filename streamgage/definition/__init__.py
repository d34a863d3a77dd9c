"""What is measured: pipeline.toml, read over, as values."""
