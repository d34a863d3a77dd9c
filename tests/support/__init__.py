"""What tests share: fakes, strategies, and servers to talk to."""
