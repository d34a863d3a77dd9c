"""The tables of one machine: the operations of DynamoDB that we use, over SQLite.

It survives kill -9 and, with ``--fsync``, power loss. DynamoDB Local, AWS's own engine, is the judge of its answers:
tests/contract/test_dynamodb_differential.py. From the inside out::

    errors, numbers, values     attribute values: checked, canonical, measured
    keys, table                 primary keys as bytes that sort
    lexer, paths, conditions    expressions: parser, updates, update_parser, expressions, key_conditions, reserved
    partiql                     the two statements that we write
    database, store, changes    the SQLite file, its tables and items; one transaction a request; what changed, for streams
    items, batches, queries     operations, from a request's values to the answer's JSON: with
    statements, control           capacity and requests
    expiry, streams             time to live; DynamoDB Streams
    api, server                 operations by name; connections

``python -m infra.local.dynamodb --port 4568 --data DIR`` runs it. In process::

    api = DynamoApi(Store(open_database(None, now_ms=0)), clock_ms=clock)
    api.handle("DynamoDB_20120810.ListTables", b"{}")

Not carried out, and refused by name: indexes, streams with more than keys, transactions, backups, tags, the parameters that expressions
replaced (Expected, AttributesToGet, …), parallel scans, other statements than those of ``partiql``.
"""
