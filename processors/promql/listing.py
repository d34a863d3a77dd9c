"""Which series there are, and of which labels: names and windows by the definition, keys by what was counted.

Keys are read from the largest windows that are kept, so these may name one that had its events a little before or after.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from processors.promql.errors import execution
from processors.promql.matchers import NAME, Matcher, match_labels
from processors.promql.names import WINDOW, Metric, Names, key_labels
from processors.promql.reading import Reader, Sized, labels_of
from processors.promql.series import Labels
from processors.promql.syntax import Selector
from streamgage.definition.pipeline import Rollup

_MOST_SERIES = 200_000


@dataclass(frozen=True, slots=True)
class Listing:
    """What is asked for: series of *selectors*, all where there are none, that have events from *start_ms* to *end_ms*."""

    reader: Reader
    selectors: tuple[Selector, ...]
    start_ms: int
    end_ms: int

    def matches(self) -> Iterator[tuple[Metric, tuple[Matcher, ...]]]:
        """Yield each metric that a selector may ask for, with what the selector asks."""
        for matchers in [each.matchers for each in self.selectors] or [()]:
            for metric in self.reader.names.metrics.values():
                others = tuple(
                    each for each in matchers if each.label not in (*key_labels(metric.rollup), WINDOW, NAME)
                )
                if match_labels(others, {}) and all(
                    each.test(metric.name) for each in matchers if each.label == NAME
                ):
                    yield metric, matchers

    def keys(self, rollup: Rollup, matchers: tuple[Matcher, ...]) -> list[tuple[str, ...]]:
        """Return the keys of *rollup* that have events then."""
        (largest,) = self.reader.sizes(rollup, (), max(each.size_ms for each in rollup.windows), name=None)
        of_key = tuple(each for each in matchers if each.label in key_labels(rollup))
        return self.reader.keys(largest, of_key, self.start_ms, self.end_ms + 1)

    def sizes(self, metric: Metric, matchers: tuple[Matcher, ...]) -> list[Sized]:
        """Return the windows that are asked for."""
        return self.reader.sizes(metric.rollup, matchers, None, name=metric.name)

    def is_there(self, metric: Metric, matchers: tuple[Matcher, ...]) -> bool:
        """Tell whether there is a series; keys are read only where something is asked of them."""
        asks_keys = any(each.label in key_labels(metric.rollup) for each in matchers)
        return bool(self.sizes(metric, matchers)) and (
            not asks_keys or bool(self.keys(metric.rollup, matchers))
        )


def listed_series(listing: Listing) -> list[Labels]:
    """Return the labels of each series. Raises: QueryError ``execution``, they are too many."""
    found: dict[tuple[str, str, tuple[str, ...]], Labels] = {}
    for metric, matchers in listing.matches():
        for sized in listing.sizes(metric, matchers):
            for key in listing.keys(metric.rollup, matchers):
                found[metric.name, sized.label, key] = labels_of(metric, sized.label, key)
            if len(found) > _MOST_SERIES:
                raise execution(
                    f"there are more than {_MOST_SERIES:,} series: say more in match[], or ask for a shorter range"
                )
    return [found[place] for place in sorted(found)]


def label_names(listing: Listing) -> list[str]:
    """Return the names of labels."""
    found = {NAME, WINDOW} if not listing.selectors else set()
    for metric, matchers in listing.matches():
        if listing.is_there(metric, matchers):
            found |= {NAME, WINDOW, *key_labels(metric.rollup)}
    return sorted(found)


def label_values(listing: Listing, label: str) -> list[str]:
    """Return the values of *label*."""
    found: set[str] = set()
    for metric, matchers in listing.matches():
        labels = key_labels(metric.rollup)
        if label in labels:
            if listing.sizes(metric, matchers):
                at = labels.index(label)
                found |= {key[at] for key in listing.keys(metric.rollup, matchers)}
        elif label in (NAME, WINDOW) and listing.is_there(metric, matchers):
            found |= (
                {metric.name} if label == NAME else {each.label for each in listing.sizes(metric, matchers)}
            )
    return sorted(found - {""})


def metadata(names: Names, metric: str | None) -> dict[str, list[dict[str, Any]]]:
    """Return what each series is; of *metric* alone, where it is named."""
    return {
        name: [{"type": "histogram" if each.is_histogram else "gauge", "help": each.help, "unit": ""}]
        for name, each in names.metrics.items()
        if metric in (None, "", name)
    }
