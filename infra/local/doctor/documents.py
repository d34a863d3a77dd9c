"""The small files: checkpoints, and what describes the stack. Each has a checksum."""

from collections.abc import Callable
from pathlib import Path

from infra.local.doctor.report import Damage, Look, Report
from infra.local.http.secret import read_credentials
from infra.local.mapping.checkpoints import CheckpointFile
from infra.local.stack.home import Home, read_json
from streamgage.errors import ConfigError


def check_checkpoints(home: Home, report: Report) -> None:
    """Read how far each shard was read."""
    _look("checkpoints", home.checkpoint_file, lambda path: CheckpointFile(path).load(), report)


def check_stack_files(home: Home, report: Report) -> None:
    """Read what describes the stack."""
    for path in home.documents:
        _look(f"stack: {path.name}", path, read_json, report)
    _look(f"stack: {home.credentials_file.name}", home.credentials_file, read_credentials, report)


def _look(subject: str, path: Path, read: Callable[[Path], object], report: Report) -> None:
    try:
        size_bytes = path.stat().st_size
    except OSError:
        return  # not there: made by the first `up`, or gone while we looked
    problems: tuple[str, ...] = ()
    try:
        read(path)
    except ConfigError as error:
        problems = error.problems
    report.on_bytes(size_bytes)
    report.damages += [Damage(problem, "") for problem in problems]
    report.looks.append(Look(subject, 1, size_bytes, damages=len(problems)))
