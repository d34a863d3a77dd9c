"""The error that hands back what was given up."""

from collections.abc import Sequence
from operator import itemgetter

from producers.client.outbox import GivenUp
from streamgage.errors import DeliveryError


def delivery_error(given_up: Sequence[GivenUp]) -> DeliveryError:
    """Return the error that holds all *given_up*, at least one, user records in the order they were put."""
    entries = [each.entry for each in given_up]
    numbered = [pair for entry in entries for pair in zip(entry.numbers, entry.records, strict=True)]
    numbered.sort(key=itemgetter(0))
    last = given_up[-1]
    times = "once" if last.attempts == 1 else f"{last.attempts} times in {last.tried_ms / 1000:.1f} s"
    return DeliveryError(
        f"{sum(record.events for _, record in numbered)} events in {len(entries)} Kinesis records were not delivered; "
        f"the last failed with {last.failure.code}: {last.failure.message} (shard {last.entry.shard_id}; tried {times})",
        [record for _, record in numbered],
        [entry.sealed for entry in entries],
    )
