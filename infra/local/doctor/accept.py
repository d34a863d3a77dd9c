"""Go on without what is lost: what was given up is written down first, and the damaged files are kept."""

import json
import os
import time
from pathlib import Path

from infra.local.doctor.report import Damage, Report
from infra.local.files import make_private, open_private
from infra.local.stack.home import Home
from streamgage.errors import ConfigError


def accept_loss(home: Home, report: Report) -> list[Damage]:
    """Give up what *report* names and can be given up; return what remains damaged.

    Raises:
        ConfigError: the stack runs.
    """
    if report.is_running:
        raise ConfigError("the stack runs; stop it first: streamgage down")
    lost = [damage for damage in report.damages if damage.give_up is not None]
    if lost:
        _write_down(home, lost)
    for damage in lost:
        assert damage.give_up is not None  # noqa: S101 - chosen above
        damage.give_up()
    return [damage for damage in report.damages if damage.give_up is None]


def given_up_before(home: Home) -> list[str]:
    """Return what was given up of *home* so far, oldest first; a line that is damaged is told as it is."""
    try:
        lines = _ledger(home).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    return [_told(line) for line in lines]


def _told(line: str) -> str:
    try:
        entry = json.loads(line)
        return f"{entry['at']}: {entry['what']}"
    except (ValueError, KeyError, TypeError):
        return ascii(line)


def _write_down(home: Home, lost: list[Damage]) -> None:
    path = _ledger(home)
    make_private(path.parent)
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with os.fdopen(open_private(path, append=True), "w", encoding="utf-8") as file:
        for damage in lost:
            file.write(json.dumps({"at": moment, "what": damage.what}) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _ledger(home: Home) -> Path:
    return home.root / "data" / "given-up" / "losses.ndjson"
