"""Measures that few pipelines have: of sketches, and of first and last. Imported by those that do.

================== ============================================================ ============================
name               value                                                        of no values
================== ============================================================ ============================
p50, p99.9, …      about the value of rank ceil(p/100 · n) from the least on    None
histogram          how many values lie in which bucket, as OTLP's JSON has it   no buckets
distinct           about how many different values there were; of texts too     0
sessions           runs of a key's events with no pause above 30 minutes        0
bounces            sessions of one event                                        0
bounce_rate        bounces / sessions                                           None
session_length     the mean of end - begin, in seconds                          None
session_events     the mean number of events                                    None
entry              of each session the text at its first event: how many        none
                   sessions have which, the most first, as JSON
exit               likewise of its last event                                   none
time_weighted_mean of a signal that holds its value until the next event: its   None; also of one instant
                   mean from the first event to the last
delta              last - first                                                 None
rate               (last - first) / the seconds between their event times       None; also of one instant
================== ============================================================ ============================

Another pause than 30 minutes stands behind the name: ``sessions@10m``. Quantiles and histogram are also of fields whose values
are histograms, which a client counted (``histogram_points``): of the values behind them.
"""

import json
import re
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from typing import Any

from streamgage.durations import parse_duration
from streamgage.measures import distinct, histogram
from streamgage.measures.catalogue import JsonText, Measure, Parts, Value
from streamgage.measures.decimals import divide, unscale
from streamgage.measures.sessions import DEFAULT_GAP_S, MOST_SESSIONS, MOST_WITH_TEXTS, Totals, totals_of

_QUANTILE = re.compile(r"p((?:[1-9][0-9]?|0)(?:\.[0-9]{0,2}[1-9])?)")
_DIGITS = 6  # significant; the error is in the third
_EXTRA_PLACES = 3
_SHARE_PLACES = 6
_LONGEST_GAP_MS = 86_400_000


@lru_cache(maxsize=256)
def find(name: str) -> Measure | None:
    """Return the measure *name*, or None."""
    match = _QUANTILE.fullmatch(name)
    if match and Decimal(match[1]):
        return _quantile(name, Decimal(match[1]) / 100)
    return _OTHERS.get(name) or _of_sessions(name)


def _of_sessions(name: str) -> Measure | None:
    kind, mark, gap = name.partition("@")
    if kind not in _SESSIONS and kind not in _SESSION_TEXTS:
        return None
    try:
        gap_ms = parse_duration(gap) if mark else DEFAULT_GAP_S * 1000
    except ValueError:
        return None
    if gap_ms % 1000 or not 1_000 <= gap_ms <= _LONGEST_GAP_MS:
        return None
    if kind in _SESSION_TEXTS:
        return _session_texts(name, f"{kind}{gap_ms // 1000}", MOST_WITH_TEXTS * gap_ms)
    part, read, longest_ms = f"sessions{gap_ms // 1000}", _SESSIONS[kind], MOST_SESSIONS * gap_ms
    return Measure(
        name,
        (part,),
        lambda parts, _scale: read(totals_of(parts[part])),
        columns="any",
        longest_ms=longest_ms,
    )


def _session_texts(name: str, part: str, longest_ms: int) -> Measure:
    def read(parts: Parts, _scale: int) -> Any:
        from streamgage.measures.session_texts import shown  # noqa: PLC0415 - by who names it

        return JsonText(shown(parts[part]))

    return Measure(name, (part,), read, columns="texts", is_number=False, longest_ms=longest_ms)


def _time_weighted_mean(parts: Parts, scale: int) -> Value:
    from streamgage.measures.time_weighted import mean  # noqa: PLC0415 - by who names it

    return mean(parts["signal"], scale)


def _time_weighted_error(parts: Parts) -> float:
    from streamgage.measures.time_weighted import error  # noqa: PLC0415 - by who names it

    return error(parts["signal"])


def _quantile(name: str, fraction: Decimal) -> Measure:
    def read(parts: Parts, _scale: int) -> Value:
        value = histogram.quantile(parts["histogram"], fraction)
        return None if value is None else Decimal(f"{value:.{_DIGITS}g}")

    return Measure(name, ("histogram",), read, error=_OF_A_VALUE, bound=_bound)


def _bound(parts: Parts) -> float:
    return histogram.relative_error(parts["histogram"].scale)


def _histogram(parts: Parts, _scale: int) -> Any:
    return JsonText(json.dumps(histogram.in_opentelemetry(parts["histogram"]), separators=(",", ":")))


def _distinct(parts: Parts, _scale: int) -> Value:
    return distinct.estimate(parts["distinct"])


def _standard_error(parts: Parts) -> float:
    return 0.0 if isinstance(parts["distinct"], frozenset) else distinct.STANDARD_ERROR


def _delta(parts: Parts, scale: int) -> Value:
    first, last = parts["first"], parts["last"]
    return None if first is None or last is None else unscale(last[1] - first[1], scale)


def _rate(parts: Parts, scale: int) -> Value:
    first, last = parts["first"], parts["last"]
    if first is None or last is None or last[0] == first[0]:
        return None
    return divide((last[1] - first[1]) * 1000, (last[0] - first[0]) * 10**scale, scale + _EXTRA_PLACES)


def _share(part: int, whole: int) -> Value:
    return divide(part, whole, _SHARE_PLACES) if whole else None


_SESSIONS: dict[str, Callable[[Totals], Value]] = {
    "sessions": lambda totals: totals.sessions,
    "bounces": lambda totals: totals.bounces,
    "bounce_rate": lambda totals: _share(totals.bounces, totals.sessions),
    "session_length": lambda totals: _share(totals.length_ms, totals.sessions * 1000),
    "session_events": lambda totals: _share(totals.events, totals.sessions),
}
_SESSION_TEXTS = ("entry", "exit")
_OF_A_VALUE = "of the value of that rank at most"
_OTHERS = {
    each.name: each
    for each in (
        Measure(
            "histogram",
            ("histogram",),
            _histogram,
            error="of a value at most, by its bucket",
            bound=_bound,
            is_number=False,
        ),
        Measure(
            "distinct",
            ("distinct",),
            _distinct,
            columns="any",
            error="standard error",
            bound=_standard_error,
            exact="exact, but for chance",
        ),
        Measure(
            "time_weighted_mean",
            ("signal",),
            _time_weighted_mean,
            error="of the distance between the least and the greatest value at most",
            bound=_time_weighted_error,
        ),
        Measure("delta", ("first", "last"), _delta),
        Measure("rate", ("first", "last"), _rate),
    )
}
NAMES = ("p50", "p90", "p95", "p99", "p99.9", *_OTHERS, *_SESSIONS, *_SESSION_TEXTS)
"""Some of the names, for who is told what there is."""
