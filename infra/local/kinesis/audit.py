"""Read a shard's log over, every byte of it, and say what is lost. Nothing is changed; the log may be written to meanwhile."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from infra.local.kinesis.errors import DamageError
from infra.local.kinesis.frames import Gap, Scan, gaps, is_unfinished, mended
from infra.local.kinesis.mark import Mark, read_mark
from infra.local.kinesis.recovery import YEAR_OF_COUNTERS, segment_path, segments_in
from infra.local.kinesis.segment import Segment


@dataclass(frozen=True, slots=True)
class Lost:
    """What is not there as it was written: bytes of a file, and the records between two counters that are whole.

    ``before`` None: up to the end of the log. ``records`` None: nobody knows how many.
    """

    path: Path
    what: str
    start: int = 0
    stop: int = 0
    after: int = 0
    before: int | None = None
    records: int | None = None


@dataclass(slots=True)
class Audit:
    """What was read of a log, and what was found. ``damaged`` holds what is whole of each file that has gaps."""

    mark: Mark | None = None
    files: int = 0
    size_bytes: int = 0
    records: int = 0
    last: int = 0
    lost: list[Lost] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    damaged: dict[Path, list[bytes]] = field(default_factory=dict)


def audit(
    directory: Path, mark_path: Path, *, marked: bool, on_bytes: Callable[[int], None] = lambda _: None
) -> Audit:
    """Return what stands in the log in *directory*; *marked*: it must have a mark."""
    found = Audit()
    problem = f"{mark_path} is missing"
    try:
        found.mark = read_mark(mark_path)
    except DamageError as error:
        problem, marked = str(error), True
    if found.mark is None and marked:
        what = f"{problem}; whether records at the end of its log are lost cannot be told"
        found.lost.append(Lost(mark_path, what))
    try:
        segments = {segment.first_counter: segment for segment in segments_in(directory)}
    except DamageError as error:
        found.lost.append(Lost(directory, str(error)))
        return found
    for expected in _expected(segments, found.mark):
        segment = segments.get(expected.first, Segment(segment_path(directory, expected.first)))
        _read(segment, expected, found, on_bytes)
    if found.mark is not None:
        found.last = max(found.last, found.mark.last)
    if found.lost and found.mark is not None and (now := _floor_now(mark_path)) > found.mark.floor:
        found.lost = [
            lost for lost in found.lost if not (lost.before and lost.before <= now)
        ]  # trimmed meanwhile
    return found


@dataclass(frozen=True, slots=True)
class _Expected:
    """A segment as it ought to be: acknowledged bytes and records, None where nobody wrote them down."""

    first: int
    highest: int
    size_bytes: int | None
    records: int | None
    may_be_unfinished: bool
    is_marked: bool


def _expected(segments: dict[int, Segment], mark: Mark | None) -> Iterator[_Expected]:
    known: dict[int, _Expected] = {}
    if mark is not None:
        for entry in mark.kept:
            known[entry.first] = _Expected(
                entry.first,
                entry.last,
                entry.size_bytes,
                entry.count,
                may_be_unfinished=False,
                is_marked=True,
            )
        if mark.active:
            known[mark.active] = _Expected(
                mark.active,
                mark.last + YEAR_OF_COUNTERS,
                mark.size_bytes,
                mark.count,
                may_be_unfinished=True,
                is_marked=True,
            )
    floor = mark.floor if mark else 0
    newest = max(segments, default=0)
    for first in sorted({*segments, *known}):
        if first >= floor:
            yield known.get(first) or _Expected(
                first,
                first + YEAR_OF_COUNTERS,
                None,
                None,
                may_be_unfinished=first == newest,
                is_marked=mark is not None,
            )


def _read(segment: Segment, expected: _Expected, found: Audit, on_bytes: Callable[[int], None]) -> None:
    path = segment.path
    try:
        content = path.read_bytes()
    except OSError as error:
        if expected.size_bytes:
            what = f"{path.name}: {error.strerror or error}"
            found.lost.append(
                Lost(path, what, 0, expected.size_bytes, expected.first - 1, _end(expected), expected.records)
            )
        return
    on_bytes(len(content))
    found.files += 1
    found.size_bytes += len(content)
    body = _take_apart(content, expected)
    found.records += body.records
    found.last = max(found.last, body.last)
    if body.unfinished:
        found.notes.append(
            f"{path}: {body.unfinished} bytes of a write that was never acknowledged, at its end"
        )
    missing = None if expected.records is None else expected.records - body.records
    for hole in body.holes:
        before = hole.before if hole.before is not None else _end(expected)
        records = missing if len(body.holes) == 1 and missing and missing > 0 else None
        found.lost.append(Lost(path, "", hole.start, hole.stop, hole.after, before, records))
    for mend in body.mends:
        what = f"the length at byte {mend.start} of {path} is damaged; no record is lost, and it is mended with the rest"
        found.lost.append(Lost(path, what, records=0))
    if body.holes or body.mends:
        found.damaged[path] = body.parts
    _look_at_index(segment, len(content), expected, found)


@dataclass(slots=True)
class _Body:
    """What stands in a segment: its whole ``parts``, the holes between, frames whose length alone is wrong."""

    last: int
    records: int = 0
    unfinished: int = 0
    parts: list[bytes] = field(default_factory=list)
    holes: list[Gap] = field(default_factory=list)
    mends: list[Gap] = field(default_factory=list)


def _take_apart(content: bytes, expected: _Expected) -> _Body:
    acknowledged = expected.size_bytes or 0
    body = _Body(expected.first - 1)
    for part in gaps(content, first=expected.first, highest=expected.highest):
        if isinstance(part, Scan):
            body.parts.append(content[part.offsets[0] : part.end])
            body.records, body.last = body.records + len(part.counters), part.counters[-1]
        elif (part.before is not None or part.stop == acknowledged) and (frame := mended(content, part)):
            body.parts.append(frame)
            body.mends.append(part)
            body.records += 1
        elif part.before is None and part.start >= acknowledged and _is_unfinished(content, part, expected):
            body.unfinished = part.stop - part.start
        else:
            body.holes.append(part)
    if len(content) < acknowledged:
        if body.holes and body.holes[-1].before is None:
            body.holes[-1] = body.holes[-1]._replace(stop=acknowledged)
        else:
            body.holes.append(Gap(len(content), acknowledged, body.last, None))
    return body


def _end(expected: _Expected) -> int | None:
    """Return the counter behind a segment's last, None where the segment is the open one."""
    return None if expected.may_be_unfinished else expected.highest + 1


def _is_unfinished(content: bytes, gap: Gap, expected: _Expected) -> bool:
    return expected.may_be_unfinished and (expected.is_marked or is_unfinished(content, gap.start))


def _look_at_index(segment: Segment, size_bytes: int, expected: _Expected, found: Audit) -> None:
    path = segment.path.with_suffix(".idx")
    if expected.may_be_unfinished or segment.path in found.damaged:
        return
    found.files += path.exists()
    if not segment.load_index(size_bytes):
        found.notes.append(f"{path} is missing or damaged; the next start makes it anew from its segment")


def _floor_now(mark_path: Path) -> int:
    try:
        mark = read_mark(mark_path)
    except DamageError:
        return 0
    return mark.floor if mark else 0
