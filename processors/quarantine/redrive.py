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
from streamgage.formats.blocks.reader import BlockReader
from streamgage.reading.poison import Poison
from streamgage.records import UserRecord
from streamgage.visible import visible


def refused_records(
    poison: Poison, readers: Iterable[BlockReader], codes: Collection[str]
) -> Iterator[UserRecord]:
    """Yield the events of *poison* that were refused for one of *codes*, each as a user record.

    A user record, or a block, of which all was refused so is itself; an event of any other block is the row that its
    writer would have sent. *readers* are those of the pipeline's sources.

    Raises:
        ValueError: it cannot be had: its framing is broken, or nothing reads the block.
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
                yield from refused_records(found, readers, codes)
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
