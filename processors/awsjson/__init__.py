"""A lean client of services that speak AWS JSON over HTTP/1.1 (DynamoDB, SQS), for the hot path. See docs/adr/0006.

One module a concern: ``endpoint`` where to, ``credentials`` as whom, ``signing`` SigV4, ``http1`` what an answer is,
``names`` the addresses of a host, ``connections`` kept-alive sockets, ``aside`` what may block for ever, ``retry`` when to
try again, ``client`` all of them together. Nothing here waits beyond the deadline that it was given.
"""
