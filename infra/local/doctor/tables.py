"""The tables: their write-ahead log, their structure, and the checksum of every item."""

from functools import partial

from infra.local.doctor.once import once
from infra.local.doctor.report import Damage, Look, Report
from infra.local.doctor.stream import given_up_folder
from infra.local.dynamodb.audit import audit, give_up_log, give_up_rows
from infra.local.stack.home import Home

_ACCEPT = "Put a copy back, or go on without it: streamgage doctor --accept-loss"
_AFRESH = "Put a copy back, or start afresh by removing the whole home, so that the stream is read again"


def check_tables(home: Home, report: Report) -> None:
    """Read all items over."""
    directory = home.tables_data
    found = audit(directory, is_running=report.is_running, on_bytes=report.on_bytes)
    if found is None:
        return
    damages = [Damage(problem, _AFRESH) for problem in found.problems]
    if found.log_problem:
        give_up = once(partial(give_up_log, directory, given_up=given_up_folder(home)))
        damages.append(Damage(f"tables: {found.log_problem}", _ACCEPT, give_up))
    if found.rows:
        give_up = once(partial(give_up_rows, directory, found.rows, given_up=given_up_folder(home)))
        damages += [Damage(what, _ACCEPT, give_up) for _, _, what in found.rows]
    report.damages += damages
    report.looks.append(
        Look(
            "tables",
            found.files,
            found.size_bytes,
            f"{found.items:,} items in {found.tables} tables",
            len(damages),
        )
    )
