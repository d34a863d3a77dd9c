"""The quarantine: what cannot be counted is kept, with its payload, its place and the reason.

One module a concern: ``message`` what it looks like, ``bulk`` many of them in one object, ``objects`` S3, ``queue`` which
goes where: a message for each user record, or one that points to an object; ``redrive`` the way back.
"""
