"""What of the quarantine may be sent anew: the events that were refused, and nothing that was counted.

``python -m processors.quarantine.redrive pipeline.toml < bodies.ndjson > records.ndjson``: messages of the queue, or lines
of an object, one JSON document a line; out come entries of PutRecords. On stderr, what was left, and why.
"""

import argparse
import json
import sys
from base64 import b64encode
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from processors.pipeline_files import load_pipeline
from processors.quarantine.message import BulkRef, decode_message
from streamgage.definition.pipeline import Pipeline
from streamgage.errors import POISON_CODES, PoisonRecord
from streamgage.formats.agents.decoder import AgentDecoder
from streamgage.formats.agents.inflate import opened
from streamgage.formats.agents.items import PassedOver
from streamgage.formats.agents.items import Refused as RefusedItem
from streamgage.formats.blocks.reader import BlockReader
from streamgage.reading.poison import Poison, Refused
from streamgage.records import UserRecord
from streamgage.visible import visible


class AgentRows:
    """Makes rows of the items of agents' records, by today's definition.

    The places of a record's items are a function of its bytes: what another definition counted is not among the refused.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._decoder, self._sources = AgentDecoder(pipeline.sources.values()), pipeline.sources

    def rows(self, poison: Poison, wanted: Iterable[Refused]) -> tuple[list[bytes], str]:
        """Return the rows of the *wanted* items, and why one of them cannot be had; "" where all can.

        Raises:
            ValueError: the record cannot be taken apart.
        """
        try:
            outcomes = self._decoder.decode_whole(opened(poison.data))
        except PoisonRecord as error:
            raise ValueError(f"its items cannot be told apart: {error}") from error
        rows: list[bytes] = []
        refused_still = ""
        for offset in (number for each in wanted for number in range(each.first, each.last + 1)):
            outcome = outcomes[offset] if offset < len(outcomes) else None
            if outcome is None:
                raise ValueError("today it has fewer items")
            if isinstance(outcome, RefusedItem):
                refused_still = refused_still or outcome.reason
            elif not isinstance(outcome, PassedOver):
                rows.append(self._sources[outcome.source].schema.encode(outcome.event))
        return rows, refused_still


def refused_records(
    poison: Poison, readers: Iterable[BlockReader], codes: Collection[str], agents: AgentRows | None = None
) -> Iterator[UserRecord]:
    """Yield the events of *poison* that were refused for one of *codes*, each as a user record.

    A user record, or a block, of which all was refused so is itself; an event of any other block is the row that its
    writer would have sent, and an item of an agent's record the row of the event that *agents* make of it today.
    *readers* are those of the pipeline's sources.

    Raises:
        ValueError: it, or some of it, cannot be had: its framing is broken, nothing reads the block, or no source takes an item.
    """
    wanted = [each for each in poison.refused if each.code in codes]
    if not wanted:
        return
    if poison.sub_sequence_number is None:
        raise ValueError("the framing of its Kinesis record is broken: which events it held is not known")
    if sum(each.events for each in wanted) == poison.events:
        yield UserRecord(poison.partition_key, poison.data)
        return
    reader = next((each for each in readers if poison.data.startswith(tuple(each.prefixes))), None)
    if reader is None and agents is not None:
        rows, refused_still = agents.rows(poison, wanted)
        yield from (UserRecord(poison.partition_key, row) for row in rows)
        if refused_still:
            raise ValueError(f"items of agents that are refused today too, the first: {refused_still}")
        return
    if reader is None:
        raise ValueError("a block of no source of the pipeline")
    try:
        block = reader.decode(poison.data, ())
        rows = [block.row(offset) for each in wanted for offset in range(each.first, each.last + 1)]
    except PoisonRecord as error:
        raise ValueError(f"its events cannot be shown by themselves: {error}") from error
    yield from (UserRecord(poison.partition_key, row) for row in rows)


def redrive(
    lines: Iterable[str], pipeline: Pipeline, codes: Collection[str], left: Counter[str]
) -> Iterator[UserRecord]:
    """Yield what of *lines* may be sent anew, each poison once; count in *left* what is not, by the reason."""
    readers = [BlockReader(each.schema, each.writers) for each in pipeline.sources.values()]
    agents = AgentRows(pipeline) if any(each.agents for each in pipeline.sources.values()) else None
    seen: set[str] = set()
    for line in filter(str.strip, lines):
        try:
            found = decode_message(line)
            if isinstance(found, BulkRef):
                left[f"{found.poison} user records are in s3://{found.bucket}/{found.key}"] += 1
            elif found.id in seen:
                left["sent to the quarantine more than once"] += 1
            else:
                seen.add(found.id)
                yield from refused_records(found, readers, codes, agents)
        except ValueError as error:
            left[str(error)] += 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Redrive from stdin to stdout; return 0."""
    parser = argparse.ArgumentParser(prog="python -m processors.quarantine.redrive")
    parser.add_argument("pipeline", type=Path, help="the definition whose schemas the blocks are of")
    parser.add_argument("--code", action="append", choices=POISON_CODES, help="what was refused for it; all")
    parsed = parser.parse_args(arguments)
    left, sent = Counter[str](), 0
    for record in redrive(sys.stdin, load_pipeline(parsed.pipeline), parsed.code or POISON_CODES, left):
        entry = {"Data": b64encode(record.data).decode("ascii"), "PartitionKey": record.partition_key}
        print(json.dumps(entry))
        sent += 1
    print(f"{sent} user records to send", file=sys.stderr)
    for reason, count in left.most_common():
        print(f"left, {count}: {visible(reason)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
