"""Why and since when each shard stands: what the status board notes of failed invocations, and no more than it needs."""

from typing import Any

from infra.local.function.outcome import Answered, Outcome
from infra.local.mapping.standing import Standing

REPORTED = "the function reported it in batchItemFailures"
_KEPT = 100  # records of a shard at which batches failed; lanes and halves are few


class Stalls:
    """The records of each shard at which a batch failed first, since when, and with which error last."""

    def __init__(self) -> None:
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
        return standing.document(since_ms=since_ms, error=error)
