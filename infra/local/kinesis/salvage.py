"""Go on without what is lost: keep the whole records of a damaged log, and the damaged files beside it.

Counters are never given twice: the mark keeps the highest, though its record is lost.
"""

import os
from pathlib import Path

from infra.local.kinesis.audit import Audit
from infra.local.kinesis.mark import Mark, MarkFile
from infra.local.kinesis.recovery import mark_of, segments_in
from infra.local.kinesis.segment import Segment


def salvage(directory: Path, mark_path: Path, found: Audit, *, given_up: Path) -> None:
    """Leave of the log in *directory* what *found* says is whole; move what is damaged into *given_up*.

    A crash on the way leaves a log that is damaged still, and is mended by the next call.
    """
    for path, parts in found.damaged.items():
        _keep_aside(path, given_up)
        _rewrite(path, parts)
    if mark_path.exists():
        _keep_aside(mark_path, given_up)
    segments = [segment for segment in segments_in(directory) if _settle(segment)]
    floor = found.mark.floor if found.mark else 0
    kept = [segment for segment in segments if segment.first_counter >= floor]
    for segment in kept[:-1]:
        if not segment.sealed:
            segment.seal()
    mark = mark_of(kept, Mark(floor=floor, last=found.last))
    file = MarkFile(mark_path, fsync=True)
    file.replace(mark)
    file.close()


def _settle(segment: Segment) -> bool:
    """Index *segment*, and cut off what is no frame at its end; return whether a record is left."""
    if segment.recover():
        os.truncate(segment.path, segment.size_bytes)
    if not segment.counters:
        segment.drop()
    return bool(segment.counters)


def _keep_aside(path: Path, given_up: Path) -> None:
    given_up.mkdir(mode=0o700, parents=True, exist_ok=True)
    aside = given_up / "-".join(path.parts[-3:])
    if not aside.exists():
        os.link(path, aside)


def _rewrite(path: Path, parts: list[bytes]) -> None:
    path.with_suffix(".idx").unlink(missing_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        file.writelines(parts)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
