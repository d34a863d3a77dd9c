"""What the consumer would call poison is not sent: its own rules, asked before a million such events are on their way."""

from typing import Any

from producers.client.encoder import encoder_of
from streamgage.definition.pipeline import Pipeline, Source
from streamgage.fold.verdicts import checks_of, verdict
from streamgage.formats.avro import Event

_CURES = {
    "future": "local times taken for UTC? --timezone; a clock that is wrong? --shift-to-now",
    "late": "recorded long ago? --shift-to-now",
    "bad_value": "a fill value? --na",
}


class ConsumerRules:
    """The verdict of the function that aggregates, on an event as if it arrived now."""

    def __init__(self, pipeline: Pipeline, source: Source) -> None:
        rollups = tuple(pipeline.rollups_of(source.name))
        self._encoder = encoder_of(source)
        self._checks = checks_of(source, rollups)
        measured = (each.field for rollup in rollups for each in rollup.layout.fields)
        self.keys = tuple(dict.fromkeys(name for rollup in rollups for name in rollup.key))
        filters = (name for rollup in rollups if rollup.where for name in rollup.where.names)
        used = tuple(dict.fromkeys((*self.keys, *measured)))
        read = used if source.derived is None else source.derived.needs(used)
        self._fields = tuple(dict.fromkeys((source.event_time, *read, *filters)))
        self._defaults: dict[str, Any] = {
            each["name"]: each["default"] for each in source.schema.parsed["fields"] if "default" in each
        }

    def check(self, event: Event, now_ms: int) -> None:
        """Look at *event*, whose types are checked by whoever encodes it.

        Raises:
            ValueError: it would be quarantined; says why, and what may be done.
        """
        self._encoder.key_of(event)
        whole = {**self._defaults, **event}
        if not whole.keys() >= set(self._fields):
            return  # the encoder says which field is missing
        poison = verdict(self._checks, whole, now_ms)
        if poison is not None:
            cure = _CURES.get(poison.code)
            whose = next((f"{name} is " for name in self._fields if _begins(poison.reason, whole[name])), "")
            reason = f"{poison.code}: {whose}{poison.reason}"
            raise ValueError(f"{reason} ({cure})" if cure else reason)


def _begins(reason: str, value: object) -> bool:
    """Tell whether *reason* begins with *value*: then it is what the reason is about."""
    return isinstance(value, int | float) and reason.startswith(f"{value!r} ")
