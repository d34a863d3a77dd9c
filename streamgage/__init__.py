"""The pure core of streamgage: no I/O, no clock, no randomness, no AWS client.

What producers and processors both need lives here, encoder and decoder of a format side by side.
"""
