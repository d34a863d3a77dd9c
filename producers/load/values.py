"""Values of any Avro type, seeded: what a load fills the fields of a schema with."""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any

Dice = Callable[[], float]
"""Gives the next number of [0, 1)."""
Value = Callable[[Dice], Any]
"""Makes a value."""

_NULL_SHARE = 0.05
_ITEMS = 3  # of an array or a map, at most
_PLACES = 2  # decimal places of a double


def maker_of(
    avro_type: Any, named: Mapping[str, Any], *, whole: bool = False, places: int = _PLACES
) -> Value:
    """Return what makes values of *avro_type*; *named* are the types that it may name.

    *whole*: never null, and few different ones: for fields that are a key. A number that is stored exactly keeps *places*
    decimal places, so that sums of it are compared to the digit; a float of 32 bits is a multiple of a quarter.

    Raises:
        ValueError: a type that Avro does not have.
    """
    if isinstance(avro_type, list):
        return _union(avro_type, named, whole=whole, places=places)
    kind = avro_type["type"] if isinstance(avro_type, Mapping) else avro_type
    if isinstance(kind, list | Mapping):
        return maker_of(kind, named, whole=whole, places=places)
    simple = _simple(kind, whole=whole, places=places)
    if simple is not None:
        return simple
    if not isinstance(avro_type, Mapping):
        if kind not in named:
            raise ValueError(f"no value can be made of the type {kind!r}")
        return maker_of(named[kind], named, whole=whole, places=places)
    return _complex(kind, avro_type, named)


def _simple(kind: str, *, whole: bool, places: int) -> Value | None:
    if kind in ("int", "long"):
        most = 10 if whole else 100_000
        return lambda dice: int(dice() ** 3 * most)
    if kind == "double":
        digits = min(places, _PLACES)
        return lambda dice: round(20 + (dice() + dice() + dice() - 1.5) * 10, digits)
    if kind == "float":
        return lambda dice: int(dice() * 4_000) / 4
    return {
        "null": lambda dice: None,  # noqa: ARG005 - a value like any other
        "boolean": lambda dice: dice() < 0.5,
        "string": texts_like("text", 20),
        "bytes": lambda dice: bytes(int(dice() * 256) for _ in range(8)),
    }.get(kind)


def _complex(kind: str, avro_type: Mapping[str, Any], named: Mapping[str, Any]) -> Value:
    if kind == "enum":
        symbols = list(avro_type["symbols"])
        return lambda dice: symbols[int(dice() * len(symbols))]
    if kind == "fixed":
        return lambda dice: bytes(int(dice() * 256) for _ in range(avro_type["size"]))
    if kind == "array":
        item = maker_of(avro_type["items"], named)
        return lambda dice: [item(dice) for _ in range(int(dice() * _ITEMS))]
    if kind == "map":
        entry = maker_of(avro_type["values"], named)
        return lambda dice: {f"key-{number}": entry(dice) for number in range(int(dice() * _ITEMS))}
    if kind in ("record", "error"):
        own = {each["name"]: maker_of(each["type"], named) for each in avro_type["fields"]}
        return lambda dice: {name: make(dice) for name, make in own.items()}
    raise ValueError(f"no value can be made of the type {kind!r}")


def _union(branches: Sequence[Any], named: Mapping[str, Any], *, whole: bool, places: int) -> Value:
    kinds = [each for each in branches if each != "null"]
    if not kinds:
        return lambda dice: None  # noqa: ARG005 - a value like any other
    make = maker_of(kinds[0], named, whole=whole, places=places)
    if whole or len(kinds) == len(branches):
        return make
    return lambda dice: None if dice() < _NULL_SHARE else make(dice)


def histograms(dice: Dice) -> dict[str, Any]:
    """Make a histogram as a client counts it: a few values between 1 and 1,024."""
    counts = [int(dice() * 4) for _ in range(1 + int(dice() * 8))]
    return {
        "count": sum(counts),
        "scale": 3,
        "zeroCount": 0,
        "zeroThreshold": 0.0,
        "positive": {"offset": int(dice() * 72), "bucketCounts": counts},
        "negative": {"offset": 0, "bucketCounts": []},
    }


def texts_like(prefix: str, count: int, also: Sequence[str] = ()) -> Value:
    """Return what draws of *count* texts that begin with *prefix*, the first ones most (Zipf), and of *also*."""
    texts = [*also, *(f"{prefix}-{number}" for number in range(count))]
    draw = zipf(len(texts), 1.0)
    return lambda dice: texts[draw(dice())]


def zipf(count: int, exponent: float) -> Callable[[float], int]:
    """Return what turns a number of [0, 1) into one of *count*, the n-th in proportion to ``1 / n**exponent``."""
    if not exponent:
        return lambda dice: int(dice * count)
    weights = list(accumulate(1 / rank**exponent for rank in range(1, count + 1)))
    total = weights[-1]
    return lambda dice: min(bisect_left(weights, dice * total), count - 1)


def named_types(avro_type: Any) -> dict[str, Any]:
    """Return the types that *avro_type* defines, by full name."""
    found: dict[str, Any] = {}
    parts: Sequence[Any] = avro_type if isinstance(avro_type, list) else ()
    if isinstance(avro_type, Mapping):
        if "name" in avro_type:
            found[avro_type["name"]] = avro_type
        inner = [avro_type.get(each) for each in ("type", "items", "values")]
        parts = [*inner, *(each["type"] for each in avro_type.get("fields", ()))]
    for each in parts:
        if isinstance(each, list | Mapping):
            found |= named_types(each)
    return found
