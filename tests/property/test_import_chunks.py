"""Rows that are put in chunks become what they become one by one: the same events, the same rejects, the same words."""

import json
import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.client.batcher import PutEntry
from producers.client.core import CoreConfig, ProducerCore
from producers.client.outbox import RetryConfig
from producers.client.ports import PutFailed, PutResult, PutStored
from producers.client.undelivered import Damaged
from producers.files import sending
from producers.files.verdict import ConsumerRules
from streamgage.formats.blocks.reader import BlockReader
from streamgage.formats.kpl import decode_aggregate, is_aggregated
from streamgage.shards import Shard
from unit.infra.commands.test_send_cli import NOW_MS, PIPELINE, Shell, VirtualClock

BLOCKS = BlockReader(PIPELINE.sources["reading"].schema)
LARGE = "large"  # stands for a text that no Kinesis record holds
GOOD = st.fixed_dictionaries(
    {
        "device_id": st.sampled_from(["d1", "d2", "d1 ", "d\u00e9"]),
        "metric": st.sampled_from(["a", "b"]),
        "ts": st.integers(NOW_MS - 1_000, NOW_MS),
        "value": st.floats(-1e6, 1e6),
    }
)
WRONG = st.sampled_from(
    [
        {"value": float("nan")},
        {"value": 1e300},
        {"value": "x"},
        {"ts": NOW_MS + 10**9},
        {"ts": -1},
        {"device_id": ""},
        {"device_id": "k" * 300},
        {"metric": "\ud800"},
        {"metric": LARGE},
        {"tags": 7},
    ]
)
LINE = st.one_of(
    GOOD.map(json.dumps),
    GOOD.map(json.dumps),
    st.builds(lambda event, wrong: json.dumps({**event, **wrong}), GOOD, WRONG),
    st.sampled_from(["", "{", "[]", '{"ts": 1}', "\0"]),
)


@dataclass
class Port:
    """A stream that stores requests, but for those whose number is in *fails*."""

    fails: frozenset[int]
    entries: list[PutEntry] = field(default_factory=list)
    requests: int = 0

    def list_shards(self) -> Sequence[Shard]:
        return [Shard("a", 0, 2**127 - 1), Shard("b", 2**127, 2**128 - 1)]

    def put_records(self, entries: Sequence[PutEntry]) -> Sequence[PutResult]:
        self.requests += 1
        if self.requests in self.fails:
            return [PutFailed("ValidationException", "no")] * len(entries)
        self.entries += entries
        return [PutStored(each.shard_id, 1) for each in entries]


@dataclass
class Outcome:
    events: list[tuple[object, ...]]
    rejects: list[object]
    undelivered: int
    code: int
    said: list[str]


def imported(
    lines: list[str], rows_at_once: int, *, fails: frozenset[int], has_rules: bool, melts: bool = False
) -> Outcome:
    """Return what comes of *lines* where chunks have at most so many rows."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sending, "CHUNK_ROWS", rows_at_once)
        if not has_rules:
            patch.setattr(ConsumerRules, "check", lambda *_: None)
        shell, clock, port = Shell(Path(folder)), VirtualClock(), Port(fails)

        @contextmanager
        def opened(_target: object) -> Iterator[ProducerCore]:
            config = CoreConfig(concurrency=1, retries=RetryConfig(max_attempts=1))
            with ProducerCore(port, clock=clock, rng=random.Random(1), config=config) as producer:
                yield producer

        shell.clock = clock
        shell._open = opened  # type: ignore[method-assign, assignment]
        data = (
            "\n".join(lines)
            .encode("utf-8", "surrogatepass")
            .replace(b'"large"', b'"' + b"m" * 1_040_000 + b'"')
        )
        code = shell.send("ndjson", "-", "--source", "reading", stdin=data)
        kept = shell.folder / "stdin.undelivered.ndjson"
        found = Outcome([], [], 0, code, shell.out.getvalue().replace(folder, "").split(", in ", 1))
        found.said = [line for line in found.said[-1].splitlines()[1:] if "not delivered" not in line]
        if (shell.folder / "stdin.rejects.ndjson").exists():
            found.rejects = [*shell.rejects("stdin.rejects.ndjson")]
        if kept.exists():
            found.undelivered = sum(
                each.events for each in shell.kept(kept.name) if not isinstance(each, Damaged)
            )
    for entry in port.entries:
        parts = decode_aggregate(entry.data).user_records() if is_aggregated(entry.data) else entry.records
        for part in parts:
            block = BLOCKS.decode(part.data, ("value",))
            found.events += [tuple(sorted(block.event(at).items(), key=str)) for at in range(block.count)]
    found.events.sort(key=str)
    return found


LINES = st.lists(LINE, min_size=1, max_size=60).filter(lambda lines: any(map(str.strip, lines)))


@settings(deadline=None, max_examples=60)
@given(lines=LINES, rows_at_once=st.integers(2, 70), has_rules=st.booleans())
def test_chunks_of_rows_become_what_rows_become(lines: list[str], rows_at_once: int, has_rules: bool) -> None:  # noqa: FBT001
    found = imported(lines, rows_at_once, fails=frozenset(), has_rules=has_rules)
    assert found == imported(lines, 1, fails=frozenset(), has_rules=has_rules)
    rows = sum(1 for line in lines if line.strip())
    assert len(found.events) + len(found.rejects) == rows


@settings(deadline=None, max_examples=40)
@given(lines=LINES, rows_at_once=st.integers(1, 70), fails=st.frozensets(st.integers(1, 4), max_size=3))
def test_what_the_stream_refuses_is_kept_and_no_row_is_lost_or_doubled(
    lines: list[str], rows_at_once: int, fails: frozenset[int]
) -> None:
    found = imported(lines, rows_at_once, fails=fails, has_rules=False)
    rows = sum(1 for line in lines if line.strip())
    assert len(found.events) + len(found.rejects) + found.undelivered == rows
    assert found.rejects == imported(lines, 1, fails=frozenset(), has_rules=False).rejects
