"""One shard of the three stores: is it counted no further than it was put, and applied no further than it is counted?"""

from datetime import UTC, datetime

from infra.local.mapping.stream import ShardCheckpoint
from infra.local.stack.stores.facts import Facts, Finding, Gap, LogFacts, StreamFacts, Verdict

_UNKNOWN = "nothing tells how much"


def judge_shard(facts: Facts, stream: StreamFacts, shard_id: str, *, emptied: bool) -> Finding | None:
    """Return what is to be said of a shard, the gravest; None where all agree. *emptied*: the tables are new."""
    kept = facts.checkpoints.shards.get(shard_id)
    progress = facts.tables.progress.get(shard_id) if facts.tables.comparable else None
    log = stream.logs.get(shard_id)
    if log is None:
        return _gone(facts, stream, shard_id, kept or ShardCheckpoint(finished=True), progress)
    beyond = _beyond(facts, shard_id, kept, progress, log)
    if beyond is not None:
        return beyond
    if _is_earlier(progress, log) or (kept is not None and _is_earlier(kept.sequence, log)):
        if stream.mark is None:
            return Finding(
                Verdict.REFUSE, "stream",
                f"the stream was reset: what was counted bears numbers of an earlier one. What that held beyond is lost, and {_UNKNOWN}",
                shard_id, checkpoint=ShardCheckpoint(),
            )  # fmt: skip
        # Marked: that loss was accepted once, and what is of before it says nothing of this log.
        progress = None if _is_earlier(progress, log) else progress
        kept = None if kept is not None and _is_earlier(kept.sequence, log) else kept
    if facts.tables.comparable and _is_behind(kept, progress, log, emptied=emptied):
        return _behind(shard_id, kept, progress, log, by_key=facts.tables.by_key)
    return _unread(shard_id, kept, progress, log, by_key=facts.tables.by_key)


def _beyond(
    facts: Facts, shard_id: str, kept: ShardCheckpoint | None, progress: int | None, log: LogFacts
) -> Finding | None:
    tip = -1 if log.tip is None else log.tip
    if progress is not None and _is_beyond(progress, log, tip):
        accepted = progress <= facts.accepted.get(shard_id, -1)
        if progress >= log.next or not accepted:
            return _counted_beyond(shard_id, kept, progress, log)
    if kept is not None and kept.sequence is not None and _is_beyond(kept.sequence, log, tip):
        return _read_beyond(shard_id, kept, progress, log, by_key=facts.tables.by_key)
    return None


def _unread(
    shard_id: str, kept: ShardCheckpoint | None, progress: int | None, log: LogFacts, *, by_key: bool
) -> Finding | None:
    """All agree. A checkpoint that is missing is made; records that expired before they were read are named."""
    expired = "" if log.unread.is_empty else (
        f"{_told(log.unread)} expired before they were read, and are lost. RetentionHours says how long records are kept"
    )  # fmt: skip
    if kept is None and progress is not None and not by_key:
        text = f"there is no checkpoint: reading goes on after {progress}, from what the tables have"
        return Finding(
            Verdict.FINE, "checkpoints", "; ".join(filter(None, (text, expired))),
            shard_id, checkpoint=ShardCheckpoint(progress, applied=progress), lost=log.unread if expired else None,
        )  # fmt: skip
    return Finding(Verdict.FINE, "stream", expired, shard_id, lost=log.unread) if expired else None


def _is_beyond(number: int, log: LogFacts, tip: int) -> bool:
    return log.first <= number and number > tip


def _is_earlier(number: int | None, log: LogFacts) -> bool:
    return number is not None and number < log.first


def _is_behind(kept: ShardCheckpoint | None, progress: int | None, log: LogFacts, *, emptied: bool) -> bool:
    if log.tip is None:
        return False
    if emptied:
        return progress is None
    return kept is not None and kept.applied is not None and (progress is None or progress < kept.applied)


def _gone(
    facts: Facts, stream: StreamFacts, shard_id: str, kept: ShardCheckpoint, progress: int | None
) -> Finding | None:
    """A checkpoint of a shard that the stream has not."""
    if _index_of(shard_id) >= stream.next_index:
        given_again = min((log.next for log in stream.logs.values()), default=facts.new_stream)
        return Finding(
            Verdict.REFUSE, "stream",
            f"the stream never had this shard, and it was read: the stream is an older copy. What the shard held beyond is lost, and {_UNKNOWN}",
            shard_id, forget=True, final=progress is not None and progress >= given_again,
        )  # fmt: skip
    applied = kept.applied if facts.tables.comparable else None
    if applied is not None and (progress is None or progress < applied):
        return Finding(
            Verdict.REFUSE, "tables",
            f"the tables have the shard {_to(progress)}, it was applied {_to(applied)}, and it has expired since: what lies between is lost",
            shard_id, forget=True, lost=Gap(certain=False),
        )  # fmt: skip
    if not kept.finished:
        return Finding(
            Verdict.FINE, "stream",
            f"the shard has expired, and was read {_to(kept.sequence)} only: what it held beyond is lost",
            shard_id, lost=Gap(certain=False),
        )  # fmt: skip
    return None


def _counted_beyond(shard_id: str, kept: ShardCheckpoint | None, progress: int, log: LogFacts) -> Finding:
    text = f"the log has the shard {_to(log.tip)}, and it was counted to {progress}: the log was deleted, cut, or is an older copy. "
    if progress >= log.next:
        return Finding(
            Verdict.REFUSE, "stream",
            f"{text}A record put now would get {log.next}, and be dropped as a repeat: the shard cannot go on",
            shard_id, final=True,
        )  # fmt: skip
    return Finding(
        Verdict.REFUSE, "stream", f"{text}What was put beyond and not counted is lost, and {_UNKNOWN}",
        shard_id, accepts=progress,
        checkpoint=ShardCheckpoint(log.tip, since_ms=kept.since_ms if kept else None, applied=log.tip),
    )  # fmt: skip


def _read_beyond(
    shard_id: str, kept: ShardCheckpoint, progress: int | None, log: LogFacts, *, by_key: bool
) -> Finding:
    target = None if by_key or _is_earlier(progress, log) else progress
    if target is not None and log.tip is not None:
        target = min(target, log.tip)
    return Finding(
        Verdict.REFUSE, "stream",
        f"the log has the shard {_to(log.tip)}, and it was read to {kept.sequence}: the log was deleted, cut, or is an older "
        f"copy. What was put beyond and not counted is lost, and {_UNKNOWN}",
        shard_id, checkpoint=ShardCheckpoint(target, since_ms=kept.since_ms, applied=target),
    )  # fmt: skip


def _behind(
    shard_id: str, kept: ShardCheckpoint | None, progress: int | None, log: LogFacts, *, by_key: bool
) -> Finding:
    """The tables lack what the mapping has seen applied: they are new, or an older copy."""
    target = None if by_key else progress
    checkpoint = ShardCheckpoint(target, since_ms=kept.since_ms if kept else None, applied=target)
    applied = f", and it was applied {_to(kept.applied)}" if kept and kept.applied is not None else ""
    what = f"the tables have the shard {_to(progress)}{applied}"
    if log.uncounted.is_empty:
        return Finding(
            Verdict.REWIND,
            "tables",
            f"{what}: what lies beyond is read again",
            shard_id,
            checkpoint=checkpoint,
        )
    return Finding(
        Verdict.REFUSE, "tables", f"{what}. Of what lies beyond {_told(log.uncounted)} expired: they are lost, the rest is read again",
        shard_id, checkpoint=checkpoint, lost=log.uncounted,
    )  # fmt: skip


def _index_of(shard_id: str) -> int:
    number = shard_id.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0


def _to(number: int | None) -> str:
    return "to nothing" if number is None else f"to {number}"


def _told(gap: Gap) -> str:
    if not gap.records:
        return "records, of which none is left and nothing tells how many,"
    count = f"{gap.records:,} Kinesis records" if gap.certain else f"at least {gap.records:,} Kinesis records"
    if gap.first_ms is None or gap.last_ms is None:
        return count
    return f"{count} that arrived from {_instant(gap.first_ms)} to {_instant(gap.last_ms)}"


def _instant(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
