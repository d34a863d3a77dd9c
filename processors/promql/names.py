"""The names of series: ``page_views_events`` and ``page_views_bytes_sum``, with a label for each field of the key, and window.

What Prometheus' rules do not allow in a name becomes ``_``: ``value.p99.9`` of ``latency`` is ``latency_value_p99_9``. Where
two come to one name, neither has it: a query that names it is told which two they are.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from processors.query.shape import Column, columns_of
from streamgage.definition.pipeline import Pipeline, Rollup

WINDOW = "window"
_NOT_IN_A_NAME = re.compile(r"[^a-zA-Z0-9_]")
_TAKEN = ("__name__", WINDOW)
_HISTOGRAM = "histogram"
_ADDED_UP = ("count", "sum", "sessions", "bounces", _HISTOGRAM)


@dataclass(frozen=True, slots=True)
class Metric:
    """One column of a rollup, as series."""

    name: str
    rollup: Rollup
    column: Column

    @property
    def is_histogram(self) -> bool:
        """Whether its values are histograms."""
        return self.column.measure == _HISTOGRAM

    @property
    def is_added_up(self) -> bool:
        """Whether the value of two windows together is the sum of theirs: of these alone a rate is told."""
        return self.column.field is None or self.column.measure.partition("@")[0] in _ADDED_UP

    @property
    def help(self) -> str:
        """What it is, in a line."""
        what = "the number of events" if self.column.field is None else self.column.name
        return f"{what} of each window of {self.rollup.name}, at the window's end"


@dataclass(frozen=True, slots=True)
class Names:
    """The series there are: ``metrics`` by name, ``refused`` names with what they would mean, ``elsewhere`` whose they are."""

    metrics: Mapping[str, Metric]
    refused: Mapping[str, str]
    elsewhere: Mapping[str, str]

    @property
    def rollups(self) -> dict[str, Rollup]:
        """The rollups that have series, by name."""
        return {each.rollup.name: each.rollup for each in self.metrics.values()}


def names_of(pipeline: Pipeline, consumer: str) -> Names:
    """Return the series of the rollups that *consumer* counts."""
    found: dict[str, list[Metric]] = {}
    elsewhere: dict[str, str] = {}
    for rollup in pipeline.rollups.values():
        for column in columns_of(rollup):
            if not column.is_number and column.measure != _HISTOGRAM:
                continue  # a text: no series has one
            name = series_name(rollup, column)
            if rollup.consumer == consumer:
                found.setdefault(name, []).append(Metric(name, rollup, column))
            else:
                elsewhere[name] = rollup.consumer
    return Names(
        {name: same[0] for name, same in found.items() if len(same) == 1},
        {
            name: " and ".join(f"{each.column.name} of {each.rollup.name}" for each in same)
            for name, same in found.items()
            if len(same) > 1
        },
        elsewhere,
    )


def series_name(rollup: Rollup, column: Column) -> str:
    """Return the name of the series of *column*."""
    name = _NOT_IN_A_NAME.sub("_", f"{rollup.name}_{column.name}")
    return f"_{name}" if name[:1].isdigit() else name


def key_labels(rollup: Rollup) -> tuple[str, ...]:
    """Return the labels of the key's fields: their names; ``exported_window`` of a field that is called window."""
    labels: list[str] = []
    for name in rollup.key:
        label = name
        while label in (*_TAKEN, *labels) or (label != name and label in rollup.key):
            label = f"exported_{label}"
        labels.append(label)
    return tuple(labels)
