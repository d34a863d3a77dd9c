"""Why and since when each shard stands: what the status board notes of failed invocations, and no more than it needs."""

import json
import os
from pathlib import Path
from typing import Any

from infra.local.function.outcome import Answered, Outcome
from infra.local.mapping.standing import Standing

REPORTED = "the function reported it in batchItemFailures"
_TAIL_BYTES = 256 * 1024  # of the function's log: what it said lately
_KEPT = 100  # records of a shard at which batches failed; lanes and halves are few


class Stalls:
    """The records of each shard at which a batch failed first, since when, and with which error last.

    *log* is the function's: what it reports as failed it gives the reason of there.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self._failed: dict[str, dict[int, tuple[int, str]]] = {}

    def note(self, shard_id: str, sequence_number: int, outcome: Outcome, now_ms: int) -> None:
        """Take note that *sequence_number* was the first record that an invocation left undone."""
        failed = self._failed.setdefault(shard_id, {})
        error = REPORTED if isinstance(outcome, Answered) else outcome.message[:2000]
        since_ms, _ = failed.get(sequence_number, (now_ms, ""))
        failed[sequence_number] = (since_ms, error)
        while len(failed) > _KEPT:
            del failed[min(failed)]

    def of(self, shard_id: str, standing: Standing | None) -> dict[str, Any] | None:
        """Return what to tell of where a shard stands; None, and all is forgotten, where it goes on."""
        if standing is None:
            self._failed.pop(shard_id, None)
            return None
        failed = self._failed.get(shard_id, {})
        for number in [each for each in failed if each < standing.sequence_number]:
            if len(failed) > 1:
                del failed[number]
        since_ms, error = failed.get(standing.sequence_number) or max(
            failed.values(), default=(standing.arrival_ms, "")
        )
        if error == REPORTED and (reason := reason_in(self._log, standing.sequence_number)):
            error = f"{REPORTED}: {reason}"
        return standing.document(since_ms=since_ms, error=error)


def reason_in(log: Path, sequence_number: int) -> str:
    """Return the last error of the function's *log* that names *sequence_number*; "" where none does."""
    try:
        with log.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - _TAIL_BYTES, 0))
            said = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    for line in reversed(said):
        if line.startswith("{") and f'"{sequence_number}"' in line:
            try:
                facts = json.loads(line)
            except ValueError:
                continue
            if facts.get("failed_from") == str(sequence_number) and facts.get("error"):
                return str(facts["error"])[:2000]
    return ""
