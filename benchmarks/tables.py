"""Conditional writes into the tables of one machine: ours over SQLite beside the emulators and AWS's own engine."""

import json
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from benchmarks.harness import (
    Contestant,
    Headline,
    Measured,
    Progress,
    Result,
    Role,
    Series,
    Table,
    WrongAnswerError,
    per_event_us,
    take_turns,
)
from benchmarks.load.cpu import process_cpu_s
from benchmarks.peers.table_engines import engines, running

QUESTION = "What does a conditional write into the tables of a laptop cost?"
OURS = "ours"
TARGET_WRITES_S = 15_000
_TABLE = "aggregates"
_STATEMENTS = 25
_FENCE = 49_590_338_271_490_256_608_559_692_538_361_571_095_921_575_989_136_588_898
_INSERT = f"INSERT INTO \"{_TABLE}\" VALUE {{'pk':?,'sk':?,'fence':?,'counts':?,'state':?,'expires':?}}"
# Commas, where the function's own statement repeats SET: dynoxide does not know that.
_UPDATE = f'UPDATE "{_TABLE}" SET "fence"=?, "counts"=?, "state"=?, "expires"=? WHERE "pk"=? AND "sk"=? AND "fence"=?'  # noqa: S608 - a constant
_SIGNED = {
    "Content-Type": "application/x-amz-json-1.0",
    "X-Amz-Date": "20260101T000000Z",
    "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/eu-central-1/dynamodb/aws4_request, "
    "SignedHeaders=host, Signature=0",
}


def run(*, quick: bool, seed: int, progress: Progress) -> Result:
    """Measure the engines' own CPU, over HTTP, one client that waits for each answer."""
    requests, rounds = (4, 1) if quick else (200, 5)
    missing: dict[str, str] = {}
    contestants: dict[str, Contestant] = {}
    clients: dict[str, _Client] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamgage-tables-")))
        for engine in engines():
            if engine.unavailable is not None:
                missing[engine.label] = engine.unavailable
                continue
            address, pid = stack.enter_context(running(engine, folder / str(len(clients))))
            client = _Client(address, pid, requests=requests, seed=seed)
            stack.callback(client.close)
            clients[engine.label], contestants[engine.label] = client, client.turn
        seconds = take_turns(contestants, rounds=rounds, check=_check, progress=progress)
    writes = requests * _STATEMENTS * 2
    cpu = Table(
        title="CPU of the engine",
        unit="µs a conditional write",
        series=tuple(
            Series(label, _role(label), per_event_us(each, writes)) for label, each in seconds.items()
        ),
        baseline=OURS,
    )
    wall = Table(
        title="Writes a second, one client that waits",
        unit="conditional writes/s",
        series=tuple(
            Series(label, _role(label), tuple(writes / each for each in client.walls_s[-rounds:]))
            for label, client in clients.items()
        ),
        baseline=OURS,
        better="more",
    )
    return Result(
        name="tables",
        question=QUESTION,
        method=(
            "BatchExecuteStatement of 25 statements over HTTP: every item is inserted where none is, then updated on its "
            "fence; items are like the function's, of 0.5 kB. What is measured is the CPU time of the engine's process. "
            "Afterwards each item is read back and compared."
        ),
        tables=(cpu, wall),
        configuration={
            "requests a turn": requests * 2,
            "statements a request": _STATEMENTS,
            "writes a turn": writes,
        },
        facts=_facts(cpu),
        missing=missing,
        headlines=_headlines(cpu),
        limits=(
            (
                "Ours and dynoxide keep what they acknowledged over kill -9; MiniStack and DynamoDB Local have their tables in "
                "memory here. On disk DynamoDB Local syncs every write: 50 to 100 a second."
            ),
            "MiniStack has no limits, no units and no checks of most requests to spend time on.",
            "The clock of a process's CPU counts in 10 ms.",
        ),
    )


class _Client:
    """A client of one engine, which writes new items each turn. ``walls_s`` is how long the turns took."""

    def __init__(self, address: str, pid: int, *, requests: int, seed: int) -> None:
        self._pid, self._requests, self._seed = pid, requests, seed
        self._connection = HTTPConnection(address, timeout=120)
        self._turn = 0
        self.walls_s: list[float] = []
        self._create()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def turn(self) -> Measured:
        """Insert and update this turn's items; return the engine's CPU, and what stands there then."""
        self._turn += 1
        keys = [
            (
                f"device_metrics.1|1m|machine-{(self._seed + number * 7919) % 99_991}|temp",
                f"{self._turn:04d}{number:08d}|stream/0",
            )
            for number in range(self._requests * _STATEMENTS)
        ]
        chunks = [keys[start : start + _STATEMENTS] for start in range(0, len(keys), _STATEMENTS)]
        bodies = [_statements(_insert, chunk) for chunk in chunks]
        bodies += [_statements(_update, chunk) for chunk in chunks]
        before_s, began_s = process_cpu_s(self._pid), time.perf_counter()
        answers = [self._post("BatchExecuteStatement", body) for body in bodies]
        self.walls_s.append(time.perf_counter() - began_s)
        after_s = process_cpu_s(self._pid)
        assert before_s is not None and after_s is not None  # noqa: PT018, S101 - it answered just now
        refused = [each for body in answers for each in json.loads(body)["Responses"] if "Error" in each]
        return Measured(after_s - before_s, (refused, [self._standing(chunk) for chunk in chunks]))

    def _standing(self, keys: Sequence[tuple[str, str]]) -> bool:
        """Tell whether all of *keys* stand there, updated."""
        wanted = {"Keys": [{"pk": {"S": pk}, "sk": {"S": sk}} for pk, sk in keys], "ConsistentRead": True}
        answer = json.loads(
            self._post("BatchGetItem", json.dumps({"RequestItems": {_TABLE: wanted}}).encode())
        )
        found = {
            (item["pk"]["S"], item["sk"]["S"]): item["fence"]["S"] for item in answer["Responses"][_TABLE]
        }
        return found == dict.fromkeys(keys, str(_FENCE + 1))

    def _create(self) -> None:
        names = ("pk", "sk")
        self._post(
            "CreateTable",
            json.dumps(
                {
                    "TableName": _TABLE,
                    "KeySchema": [
                        {"AttributeName": name, "KeyType": role}
                        for name, role in zip(names, ("HASH", "RANGE"), strict=True)
                    ],
                    "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in names],
                    "BillingMode": "PAY_PER_REQUEST",
                }
            ).encode(),
        )

    def _post(self, operation: str, body: bytes) -> bytes:
        self._connection.request(
            "POST", "/", body, {**_SIGNED, "X-Amz-Target": f"DynamoDB_20120810.{operation}"}
        )
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise WrongAnswerError(f"{operation}: {answer.status} {content[:300]!r}")
        return content


def _check(label: str, answer: tuple[list[Any], list[bool]]) -> None:
    refused, standing = answer
    if refused or not all(standing):
        raise WrongAnswerError(
            f"{label}: {len(refused)} writes refused, {standing.count(False)} chunks differ; {refused[:1]}"
        )


def _insert(pk: str, sk: str) -> dict[str, Any]:
    values = [{"S": pk}, {"S": sk}, {"S": str(_FENCE)}, *_body(0)]
    return {"Statement": _INSERT, "Parameters": values, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}


def _update(pk: str, sk: str) -> dict[str, Any]:
    values = [{"S": str(_FENCE + 1)}, *_body(1), {"S": pk}, {"S": sk}, {"S": str(_FENCE)}]
    return {"Statement": _UPDATE, "Parameters": values, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}


def _body(number: int) -> list[dict[str, str]]:
    state = json.dumps([number, *range(10**9, 10**9 + 20)], separators=(",", ":"))
    return [{"S": "count,sum,min"}, {"S": state}, {"N": "2000000000"}]


def _statements(make: Any, keys: Sequence[tuple[str, str]]) -> bytes:
    return json.dumps({"Statements": [make(pk, sk) for pk, sk in keys]}, separators=(",", ":")).encode()


def _role(label: str) -> Role:
    return "ours" if label.startswith(OURS) else "peer"


def _facts(cpu: Table) -> dict[str, Any]:
    ours = cpu.median_of(OURS)
    return {} if not ours else {"conditional writes a second of one core": round(1e6 / ours)}


def _headlines(cpu: Table) -> tuple[Headline, ...]:
    ours, peer = cpu.median_of(OURS), cpu.median_of("MiniStack")
    if not ours or not peer:
        return ()
    return (
        Headline(
            "A conditional write into the local tables",
            f"{ours:.0f} µs",
            f"{peer:.0f} µs (MiniStack)",
            peer / ours,
            f"{TARGET_WRITES_S:,} writes/s of one core",
        ),
    )
