"""The check of a start: gather, judge, and refuse or carry out what was found, before the mapping reads anything.

``look`` reads the log while nothing serves it yet; ``agree`` asks the tables, once they are up, and judges all three.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from infra.local.mapping.checkpoints import CheckpointFile
from infra.local.stack.home import Home
from infra.local.stack.stores import marks
from infra.local.stack.stores.facts import CheckpointFacts, Facts, Finding, TableFacts, Verdict
from infra.local.stack.stores.judge import judge, refusals, settle
from infra.local.stack.stores.survey import StreamSurvey, new_stream_number, survey
from processors.query.cells import DynamoPartialStore
from processors.query.progress import read_progress
from streamgage.errors import ConfigError
from streamgage.fold.items import Lanes, progress_pk

OUR_HANDLER = "processors.aggregate.function.handler"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """What of a stack the check is of. *comparable*: the function is ours, and notes its progress."""

    home: Home
    stream: str
    table: str
    consumer: str
    by_key: bool
    comparable: bool
    kinesis: Any
    dynamodb: Any


@dataclass(frozen=True, slots=True)
class Look:
    """What was read before anything was started."""

    stream: StreamSurvey | None
    now_ms: int


def look(home: Home, stream: str, *, now_ms: int) -> Look:
    """Read the log. Raises: ConfigError: it is damaged."""
    return Look(survey(home.kinesis_data, stream, now_ms=now_ms), now_ms)


def agree(stores: Stores, seen: Look, *, accept_loss: bool, say: Callable[[str], None]) -> None:
    """Make the three stores agree, and mark them. Called with stream and tables up, and no mapping.

    Raises:
        ConfigError: they do not, and going on would lose what may yet be saved, or drop what is new.
    """
    home = stores.home
    note, file = marks.read_note(home), CheckpointFile(home.checkpoint_file)
    checkpoints = file.load()
    facts = gather(stores, seen, note, CheckpointFacts(marks.mark_of_checkpoints(file), checkpoints))
    findings = judge(facts)
    if forbidden := refusals(findings, accept_loss=accept_loss):
        raise ConfigError(*(told(each) for each in forbidden), _what_to_do(home, forbidden))
    lines = tuple(
        f"{'accepted: ' if each.verdict is Verdict.REFUSE else ''}{told(each)}" for each in findings
    )
    for line in lines:
        say(f"stores: {line}")
    mark = marks.next_mark(facts, note.mark)
    accepted = {
        each.shard_id: each.accepts for each in findings if each.shard_id and each.accepts is not None
    }
    home.status_file.unlink(missing_ok=True)  # of before this check: nothing is called applied by it
    begun = marks.Note(mark, settled=False, accepted={**note.accepted, **accepted}, told=lines)
    marks.write_note(home, begun)
    settled = settle(checkpoints, findings)
    if (
        settled != checkpoints
    ):  # before the marks: after a crash in between the same is found again, or nothing
        file.save(settled)
    marks.mark_stream(stores.kinesis, stores.stream, mark)
    marks.mark_table(stores.dynamodb, stores.table, mark)
    if home.checkpoint_file.exists():  # that of a new home is made by the mapping; the next start marks it
        file.mark = {"home": mark.home, "epoch": mark.epoch}
        file.save(settled)
    marks.write_note(home, marks.Note(mark, settled=True, accepted=begun.accepted, told=lines))


def gather(stores: Stores, seen: Look, note: marks.Note, checkpoints: CheckpointFacts) -> Facts:
    """Return the facts of *stores*."""
    shard_ids = {*checkpoints.shards, *(seen.stream.shards if seen.stream else ())}
    tables = TableFacts(
        marks.mark_of_table(stores.dynamodb, stores.table),
        progress_of(stores, sorted(shard_ids)),
        by_key=stores.by_key,
        comparable=stores.comparable,
    )
    read = {shard_id: each.sequence for shard_id, each in checkpoints.shards.items()}
    stream = seen.stream.facts(progress=tables.progress, read=read) if seen.stream else None
    number = new_stream_number(seen.now_ms)
    return Facts(stream, tables, checkpoints, note.settled, number, note.accepted, note.mark)


def progress_of(stores: Stores, shard_ids: list[str]) -> Mapping[str, int]:
    """Return the fence of each shard's progress; where lanes are partition keys, the highest of its lanes."""
    store = DynamoPartialStore(stores.dynamodb, stores.table)
    if not stores.by_key:
        return {
            each.shard_id: each.sequence_number
            for each in read_progress(store, stores.consumer, stores.stream)
        }
    found: dict[str, int] = {}
    for shard_id in shard_ids:
        shard = Lanes(stores.stream, by_key=True).of_shard(shard_id)
        lanes = store.range(f"{progress_pk(stores.consumer)}|{shard}", f"{shard}|", f"{shard}}}")
        highest = max((item.fence for _, item in lanes), default=None)
        if highest is not None:
            found[shard_id] = highest
    return found


def told(finding: Finding) -> str:
    """Return *finding* as a line."""
    return f"{finding.shard_id}: {finding.text}" if finding.shard_id else finding.text


def _what_to_do(home: Home, forbidden: list[Finding]) -> str:
    afresh = f"start afresh: rm -r {home.root}"
    if any(each.final for each in forbidden):
        return f"nothing was changed. Put back what belongs together, or {afresh}"
    return (
        "nothing was changed. Put back what belongs together; or go on without what is lost: streamgage up --accept-loss; "
        f"or {afresh}"
    )
