"""DynamoDB's statements, over a dict: what the engines answer, and how they fail."""

import json
from collections import deque
from typing import Any

from support.lean_server import FakeDynamo, Reply, Request


class FakeStatements(FakeDynamo):
    """FakeDynamo with BatchExecuteStatement, of the two statements that the store writes, and no others.

    ``tells`` is whether a failed UPDATE comes with the item that stands there; a failed INSERT never does, as in
    DynamoDB Local. ``errors`` are codes by pk: the next statements of it answer them; *after* they took effect, where
    the code ends with "!".
    """

    def __init__(self, table: str, *, tells: bool = True, knows_statements: bool = True) -> None:
        super().__init__()
        self.table = table
        self.insert = (
            f"INSERT INTO \"{table}\" VALUE {{'pk':?,'sk':?,'fence':?,'counts':?,'body':?,'expires':?}}"
        )
        self.update = (
            f'UPDATE "{table}" SET "fence"=? SET "counts"=? SET "body"=? SET "expires"=? '  # noqa: S608 - no database
            'WHERE "pk"=? AND "sk"=? AND "fence"=?'
        )
        self.tells, self.knows_statements = tells, knows_statements
        self.errors: dict[str, deque[str]] = {}

    def __call__(self, request: Request) -> Reply:
        """Answer one request."""
        if request.operation != "BatchExecuteStatement":
            return super().__call__(request)
        if not self.knows_statements:
            return Reply.error("UnknownOperationException")
        statements = request.json["Statements"]
        with self._lock:
            keys = [self._key(each) for each in statements]
            if not 0 < len(keys) <= 25 or len(set(keys)) < len(keys):
                return Reply.error("ValidationException")
            responses = [self._execute(each) for each in statements]
        return Reply.of(json.dumps({"Responses": responses}).encode())

    def _key(self, statement: Any) -> tuple[str, str]:
        values = statement["Parameters"]
        pk, sk = values[:2] if statement["Statement"] == self.insert else values[4:6]
        return pk["S"], sk["S"]

    def _execute(self, statement: Any) -> Any:
        assert statement["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD"
        assert statement["Statement"] in {self.insert, self.update}
        at, values, table = self._key(statement), statement["Parameters"], {"TableName": self.table}
        planned = self.errors.get(at[0])
        code = planned.popleft() if planned else ""
        if code and not code.endswith("!"):
            return {"Error": {"Code": code, "Message": f"because {code}"}, **table}
        old = self.items.get(at)
        if statement["Statement"] == self.insert:
            if old is not None:
                return {"Error": {"Code": "DuplicateItem", "Message": "it is there"}, **table}
            names = ("pk", "sk", "fence", "counts", "body", "expires")
            self.items[at] = dict(zip(names, values, strict=True))
        else:
            if old is None or old["fence"] != values[6]:
                told = {"Item": old} if old and self.tells else {}
                return {"Error": {"Code": "ConditionalCheckFailed", "Message": "no", **told}, **table}
            old.update(zip(("fence", "counts", "body", "expires"), values[:4], strict=True))
        return {"Error": {"Code": code[:-1], "Message": "after"}, **table} if code else table
