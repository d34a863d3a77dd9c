"""Do stream, tables and checkpoints belong together? Facts in, findings out: no file, no clock.

What must hold of each shard::

    applied (checkpoint)  ≤  progress (tables)  ≤  tip (log)
    sequence (checkpoint)                       ≤  tip (log)

====================================  =================================================================================
what is found                         what follows
====================================  =================================================================================
no checkpoint, an older, a foreign    fine: reading goes on from the progress; what was counted is passed over
progress < applied: tables gone,      rewind the checkpoint to the progress, the log is read again. Refuse where some of
or an older copy                      that has expired: it is lost, and named
progress or sequence > tip: the log   refuse: what was put and not counted is lost. Final where a record put now would
is gone, cut, or an older copy        get a number up to the progress: it would be dropped as a repeat
the stream has no mark, the others    refuse, in the same way: it was deleted or reset
have; or an epoch before theirs
two homes' marks; tables without one  refuse, final: they are not the ones that were here
====================================  =================================================================================

``applied`` is less than ``sequence`` where the last records were discarded: those are in no table.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from infra.local.mapping.stream import ShardCheckpoint
from infra.local.stack.stores import shards
from infra.local.stack.stores.facts import CheckpointFacts, Facts, Finding, Mark, StoreName, Verdict


def judge(facts: Facts) -> list[Finding]:
    """Return all that is to be said of *facts*; [] where the three agree."""
    findings = list(_whose(facts))
    stream = facts.stream
    if stream is None or any(each.final or each.forget for each in findings):
        return findings
    marks = _marks(facts)
    if _is_foreign(marks["checkpoints"], marks["stream"] or marks["tables"]):
        findings.append(_foreign_checkpoints(marks["checkpoints"]))
        facts = replace(facts, checkpoints=CheckpointFacts())
    findings += _epochs(facts)
    emptied = facts.settled and marks["stream"] is not None and marks["tables"] is None
    for shard_id in sorted({*facts.checkpoints.shards, *stream.logs}):
        finding = shards.judge_shard(facts, stream, shard_id, emptied=emptied)
        findings += [finding] if finding else []
    return findings


def settle(
    checkpoints: Mapping[str, ShardCheckpoint], findings: Iterable[Finding]
) -> dict[str, ShardCheckpoint]:
    """Return the checkpoints as *findings* have them, the refusals among them accepted."""
    settled = dict(checkpoints)
    for each in findings:
        if each.shard_id is None:
            settled = {} if each.forget else settled
        elif each.forget:
            settled.pop(each.shard_id, None)
        elif each.checkpoint is not None:
            settled[each.shard_id] = each.checkpoint
    return settled


def refusals(findings: Sequence[Finding], *, accept_loss: bool) -> list[Finding]:
    """Return the findings that forbid a start."""
    return [each for each in findings if each.verdict is Verdict.REFUSE and (each.final or not accept_loss)]


def _marks(facts: Facts) -> dict[StoreName, Mark | None]:
    return {
        "stream": facts.stream.mark if facts.stream else None,
        "tables": facts.tables.mark,
        "checkpoints": facts.checkpoints.mark,
    }


def _is_foreign(mark: Mark | None, home: Mark | None) -> bool:
    return mark is not None and home is not None and mark.home != home.home


def _whose(facts: Facts) -> Iterator[Finding]:
    """Yield at most one finding: that the stores are not of one home."""
    marks = _marks(facts)
    stream, tables = marks["stream"], marks["tables"]
    counted = bool(facts.tables.progress) or any(
        each.sequence is not None for each in facts.checkpoints.shards.values()
    )
    if stream is None:
        marked = facts.settled or tables is not None or marks["checkpoints"] is not None
        if marked or (facts.stream is None and counted):  # a home of before there were marks has a stream
            yield _reset(facts)
    elif _is_foreign(tables, stream):
        yield Finding(
            Verdict.REFUSE, "tables",
            f"the tables are of home {tables.home if tables else ''}, the stream is of home {stream.home}. Put those that "
            "belong together into this home",
            final=True,
        )  # fmt: skip
    elif tables is None and facts.settled and facts.tables.progress:
        yield Finding(
            Verdict.REFUSE, "tables",
            "the tables count something and do not say whose they are: they are not the ones that were here. Put those back; "
            "or delete these, and the stream is read again",
            final=True,
        )  # fmt: skip


def _reset(facts: Facts) -> Finding:
    logs = facts.stream.logs.values() if facts.stream else ()
    number = min((log.next for log in logs), default=facts.new_stream)
    final = max(facts.tables.progress.values(), default=-1) >= number
    more = (
        "a record put now would get a sequence number that was given before, and be dropped as a repeat: it cannot go on"
        if final
        else "the tables keep their totals; what the old stream held beyond them is lost, and nothing tells how much"
    )
    return Finding(
        Verdict.REFUSE, "stream",
        f"the stream is not the one that was read: it was deleted, reset or exchanged. Put it back; else {more}",
        forget=True, final=final,
    )  # fmt: skip


def _foreign_checkpoints(mark: Mark | None) -> Finding:
    return Finding(
        Verdict.REWIND, "checkpoints",
        f"the checkpoints are of home {mark.home if mark else ''}: they are left aside, and reading goes on from what the "
        "tables have",
        forget=True,
    )  # fmt: skip


def _epochs(facts: Facts) -> Iterator[Finding]:
    """Yield which of the stores are copies of an earlier day."""
    marks = _marks(facts)
    known = [*marks.values(), None if _is_foreign(facts.noted, marks["stream"]) else facts.noted]
    newest = max((mark.epoch for mark in known if mark), default=0)
    for store, mark in marks.items():
        if mark is None or mark.epoch == newest or not facts.settled:
            continue
        copy = f"an older copy, of start {mark.epoch} of {newest}"
        if store == "stream":
            yield Finding(
                Verdict.REFUSE, store,
                f"the stream is {copy}: what was put since and not counted is lost, and nothing tells how much",
            )  # fmt: skip
        elif store == "tables":
            yield Finding(Verdict.FINE, store, f"the tables are {copy}: what they lack is read again")
        else:
            yield Finding(
                Verdict.FINE, store, f"the checkpoints are {copy}: what is read again is passed over by the tables' fences"
            )  # fmt: skip
