"""The stream's logs: every frame of every segment, what the marks say of them, and the streams themselves."""

import time
from functools import partial
from pathlib import Path

from infra.local.doctor.once import once
from infra.local.doctor.report import Damage, Look, Report
from infra.local.kinesis.audit import Audit, Lost, audit
from infra.local.kinesis.disk import log_directory, mark_path, read_streams
from infra.local.kinesis.salvage import salvage
from infra.local.kinesis.shards import Shard
from infra.local.stack.home import Home
from streamgage.errors import ConfigError

_ACCEPT = "Put a copy back, or go on without it: streamgage doctor --accept-loss"


def check_stream(home: Home, report: Report) -> None:
    """Read all records over."""
    data = home.kinesis_data
    try:
        stored = read_streams(data)
    except ConfigError as error:
        report.damages.append(Damage(str(error), "Nothing else tells what the logs hold"))
        report.looks.append(Look("stream: streams.json", 1, 0, damages=1))
        return
    if stored is None:
        return
    path = data / "streams.json"
    report.looks.append(
        Look("stream: streams.json", 1, path.stat().st_size, f"{len(stored.streams)} streams")
    )
    for state in stored.streams:
        for shard in state.shards:
            directory, mark = (
                log_directory(data, state.number, shard.index),
                mark_path(data, state.number, shard.index),
            )
            found = audit(directory, mark, marked=stored.have_marks, on_bytes=report.on_bytes)
            report.looks.append(
                Look(
                    f"stream: {state.name}, {shard.shard_id}",
                    found.files + mark.exists(),
                    found.size_bytes,
                    f"{found.records:,} records",
                    len(found.lost),
                )
            )
            give_up = once(partial(_give_up, home, directory, mark, found))
            report.damages += [
                Damage(_sentence(lost, state.name, shard), _ACCEPT, give_up) for lost in found.lost
            ]
            if not report.is_running:  # what is being written is not whole yet
                report.notes += found.notes


def given_up_folder(home: Home, *, now_s: float | None = None) -> Path:
    """Return where damaged files go that were given up now."""
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() if now_s is None else now_s))
    return home.root / "data" / "given-up" / moment


def _give_up(home: Home, directory: Path, mark: Path, found: Audit) -> None:
    salvage(directory, mark, found, given_up=given_up_folder(home))


def _sentence(lost: Lost, stream: str, shard: Shard) -> str:
    where = f"stream {stream}, {shard.shard_id}"
    if not lost.stop:
        return f"{where}: {lost.what}"
    number = shard.space.number
    behind = f"before {number(lost.before)}" if lost.before is not None else "to the end of the log"
    since = f"behind {number(lost.after)}" if lost.after > 0 else "from its first record"
    many = "records, how many is not known," if lost.records is None else f"{lost.records:,} records"
    many = "1 record" if lost.records == 1 else many
    what = f" ({lost.what})" if lost.what else ""
    return (
        f"{where}: {many} {since} {behind} lost: bytes {lost.start} to {lost.stop} of {lost.path}{what}; the rest of it "
        "is whole"
    )
