"""What an item counts, in eleven characters: two definitions with one fingerprint count the same.

An item carries the fingerprint of its rollup. A definition that counts something else under the same generation would add
to states that mean another thing; it is refused instead, and the mend is the next ``generation``, in another consumer.
"""

import json
from base64 import urlsafe_b64encode
from hashlib import sha256

from streamgage.definition.pipeline import Pipeline, Rollup

_BYTES = 8  # two of a million rollups share one by a chance of 3e-8


def counts_of(pipeline: Pipeline, rollup: Rollup) -> str:
    """Return the fingerprint of what an item of *rollup* counts.

    It names the consumer, the source, the field of event time and its unit, the key fields in order, the filter, and the
    layout of the state. Not in it: the windows (each size has items of its own), ``keep``, the order of measures, and what
    of an event is refused (``max_future``, ``max_lateness``), which may change while the same is counted.
    """
    source = pipeline.sources[rollup.source]
    text = json.dumps(
        {
            "consumer": rollup.consumer,
            "source": source.name,
            "event_time": [source.event_time, "ms"],
            "key": rollup.key,
            "filter": None,  # the definition has none yet
            "layout": rollup.layout.text,
        },
        sort_keys=True,
        separators=(",", ":"),
    )
    return _short(text)


def reader_counts(consumer: str, stream_arn: str) -> str:
    """Return the fingerprint of what a progress item is about: one consumer of one stream."""
    return _short(json.dumps([consumer, stream_arn]))


def _short(text: str) -> str:
    return urlsafe_b64encode(sha256(text.encode("ascii")).digest()[:_BYTES]).rstrip(b"=").decode("ascii")


def definition_of(pipeline: Pipeline, consumer: str) -> dict[str, str]:
    """Return what *consumer* counts: from ``rollup.generation|window`` to the fingerprint of its items.

    All of it is one consumer's, whose progress is one: whatever of it is added, changed or removed would be counted from
    then on only, and twice or not at all while two versions of the function run. So it is fixed, for its life.

    Raises:
        ConfigError: there is no such consumer.
    """
    own = pipeline.of_consumer(consumer)
    return {
        f"{rollup.name}.{rollup.generation}|{windows.label}": counts_of(own, rollup)
        for rollup in own.rollups.values()
        for windows in rollup.windows
    }
