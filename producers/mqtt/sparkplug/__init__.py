"""Sparkplug B: payloads in protobuf, and what a host has to know of each node to read them."""
