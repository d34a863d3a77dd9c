"""Open a shard's log as the last process left it: cut off what was never acknowledged, and refuse what is damaged.

Sealed segments are believed by their size and index, so that a start reads megabytes, not gigabytes; their frames are
checked when they are read, and by ``streamgage doctor``. The segment that was open is scanned.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from infra.local.kinesis.errors import DamageError
from infra.local.kinesis.frames import is_unfinished, next_frame
from infra.local.kinesis.mark import Mark, Sealed, read_mark
from infra.local.kinesis.segment import Segment

YEAR_OF_COUNTERS = 366 * 86_400_000 << 20  # how far a segment of the old format may reach


def recover(directory: Path, mark_path: Path, *, required: bool) -> tuple[list[Segment], Mark | None]:
    """Return the segments of the log in *directory*, and its mark, None where it has none yet.

    Without a mark it is new, or of the format before marks: then only what can be no whole frame is cut off.

    Raises:
        DamageError: acknowledged records are lost, or a mark is *required* and not there. Nothing was changed.
    """
    mark = read_mark(mark_path)
    if mark is None and required:
        raise DamageError(f"{mark_path} is missing; nothing else says how far its log was acknowledged")
    if mark is None:
        return _adopt(segments_in(directory)), None
    return _by_mark(directory, mark), mark


def mark_of(segments: Sequence[Segment], before: Mark | None) -> Mark:
    """Return what the mark of *segments* says; counters of *before* are never given twice."""
    segments = [
        segment for segment in segments if segment.counters
    ]  # a first write that failed left the others
    active = segments[-1] if segments and not segments[-1].sealed else None
    last = segments[-1].last_counter if segments else 0
    floor = segments[0].first_counter if segments else 0
    return Mark(
        floor=max(floor, before.floor if before else 0),
        active=active.first_counter if active else 0,
        size_bytes=active.size_bytes if active else 0,
        count=len(active.counters) if active else 0,
        last=max(last, before.last if before else 0),
        sealed=tuple(map(entry_of, (s for s in segments if s.sealed))),
    )


def entry_of(segment: Segment) -> Sealed:
    """Return what a mark says of a sealed *segment*."""
    return Sealed(
        segment.first_counter,
        segment.last_counter,
        segment.size_bytes,
        len(segment.counters),
        segment.index_crc,
    )


def segments_in(directory: Path) -> list[Segment]:
    """Return the segments whose files stand in *directory*, unread. Raises: DamageError: a file is misnamed."""
    paths = sorted(directory.glob("*.log"))
    for path in paths:
        if not path.stem.isdecimal():
            raise DamageError(f"{path} is not named as a segment is")
    return [Segment(path) for path in paths]


def _by_mark(directory: Path, mark: Mark) -> list[Segment]:
    found = {segment.first_counter: segment for segment in segments_in(directory)}
    trimmed = [found.pop(first) for first in list(found) if first < mark.floor]
    for entry in mark.kept:
        _check_sealed(directory, found.get(entry.first), entry)
    active = found.get(mark.active) if mark.active else None
    if mark.active and active is None:
        raise DamageError(
            f"{segment_path(directory, mark.active)} is missing, with {mark.count} acknowledged records"
        )
    if active is not None:
        _check_active(active, mark)
    known = {entry.first for entry in mark.kept} | {mark.active}
    _settle_unknown([segment for first, segment in sorted(found.items()) if first not in known])
    for segment in trimmed:
        segment.drop()
    kept = [segment for _, segment in sorted(found.items()) if segment.counters]
    for segment in found.values():
        if not segment.counters:
            segment.drop()  # its first write was never finished
    for segment in kept[:-1]:
        if not segment.sealed:
            segment.seal()
    return kept


def segment_path(directory: Path, first: int) -> Path:
    """Return the file of the segment that begins with counter *first*."""
    return directory / f"{first:020d}.log"


def _check_sealed(directory: Path, segment: Segment | None, entry: Sealed) -> None:
    if segment is None:
        raise DamageError(
            f"{segment_path(directory, entry.first)} is missing, with {entry.count} acknowledged records"
        )
    rest = segment.recover()
    if segment.sealed and segment.index_crc != entry.index_crc:
        segment.path.with_suffix(".idx").unlink()  # whole, and another segment's
        segment.sealed = False
        rest = segment.recover()
    if rest or (segment.size_bytes, len(segment.counters)) != (entry.size_bytes, entry.count):
        raise DamageError(
            f"{segment.path} is damaged at byte {segment.size_bytes}: {entry.count} records in "
            f"{entry.size_bytes} bytes were acknowledged"
        )
    if not segment.sealed:
        segment.seal()  # its index was missing or damaged, and is made anew


def _check_active(segment: Segment, mark: Mark) -> None:
    rest = segment.recover()
    if segment.size_bytes < mark.size_bytes:
        raise DamageError(
            f"{segment.path} is damaged at byte {segment.size_bytes}: {mark.count} records in {mark.size_bytes} bytes "
            "were acknowledged"
        )
    _cut(segment, rest, highest=segment.last_counter + YEAR_OF_COUNTERS)


def _settle_unknown(segments: Sequence[Segment]) -> None:
    """Take over segments that were begun after the mark was written: nothing of them was acknowledged, or synced."""
    for segment in segments:
        rest = segment.recover()
        if rest and segment is not segments[-1]:
            raise DamageError(f"{segment.path} is damaged at byte {segment.size_bytes}")
        _cut(segment, rest, highest=segment.last_counter + YEAR_OF_COUNTERS)


def _adopt(segments: list[Segment]) -> list[Segment]:
    for segment in segments:
        rest = segment.recover()
        if rest and segment is not segments[-1]:
            raise DamageError(
                f"{segment.path} is damaged at byte {segment.size_bytes}, {rest} bytes before a later segment"
            )
        if rest and not is_unfinished(segment.path.read_bytes(), segment.size_bytes):
            raise DamageError(f"{segment.path} is damaged at byte {segment.size_bytes}")
        _cut(segment, rest, highest=segment.last_counter + YEAR_OF_COUNTERS)
    kept = [segment for segment in segments if segment.counters]
    for segment in kept[:-1]:
        if not segment.sealed:
            segment.seal()
    return kept


def _cut(segment: Segment, rest: int, *, highest: int) -> None:
    """Cut off the *rest* bytes of an unfinished write. Raises: DamageError: whole records stand behind them."""
    if not rest:
        return
    content = segment.path.read_bytes()
    last = segment.last_counter
    if next_frame(content, segment.size_bytes + 1, last=last, highest=highest) is not None:
        raise DamageError(f"{segment.path} is damaged at byte {segment.size_bytes}, and whole behind it")
    os.truncate(segment.path, segment.size_bytes)
    print(f"kinesis: {segment.path}: dropped {rest} bytes of an unfinished write", file=sys.stderr)
