"""Laws of filter patterns, against a reading of the rules that tries everything, over records hypothesis chooses."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from infra.template.filtering.criteria import Criteria
from infra.template.filtering.pattern import parse_json, parse_pattern
from support.examples import examples

SCALARS = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "a", "ab", "B"])
NAMES = st.sampled_from(["a", "b", "c"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)
RULES = (
    SCALARS
    | st.sampled_from(["a", "B"]).map(lambda text: {"prefix": text})
    | st.sampled_from([{"exists": True}, {"exists": False}, {"anything-but": "a"}, {"numeric": [">", 0]}])
)
FIELDS = st.lists(RULES, min_size=1, max_size=3)
OBJECTS = st.recursive(
    st.dictionaries(NAMES, FIELDS, min_size=1, max_size=3),
    lambda inner: st.dictionaries(NAMES, FIELDS | inner, min_size=1, max_size=3),
    max_leaves=6,
)
PATTERNS = OBJECTS | st.lists(OBJECTS, min_size=2, max_size=3).map(lambda each: {"$or": each})


def matches(pattern: Any, value: Any) -> bool:
    return parse_pattern(json.dumps(pattern)).matches(parse_json(json.dumps(value)))


def leaf_paths(value: Any, above: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    if isinstance(value, dict):
        return {path for name, each in value.items() for path in leaf_paths(each, (*above, name))}
    if isinstance(value, list):
        return {path for each in value for path in leaf_paths(each, above)}
    return {above}


def tried(pattern: dict[str, Any], value: Any, above: tuple[str, ...], present: set[tuple[str, ...]]) -> bool:
    """The rules, recursively: of an array any element, of an object every field."""
    if isinstance(value, list):
        return any(tried(pattern, each, above, present) for each in value) or tried(
            pattern, {}, above, present
        )
    for name, wanted in pattern.items():
        path = (*above, name)
        child = value.get(name, {}) if isinstance(value, dict) else {}
        if isinstance(wanted, dict):
            if not tried(wanted, child, path, present):
                return False
        elif not ({"exists": False} in wanted and path not in present) and not field(wanted, child):
            return False
    return True


def field(rules: list[Any], value: Any) -> bool:
    if isinstance(value, list):
        return any(field(rules, each) for each in value)
    return not isinstance(value, dict) and any(rule_holds(rule, value) for rule in rules)


def rule_holds(rule: Any, value: Any) -> bool:
    match rule:
        case {"prefix": text}:
            return isinstance(value, str) and value.startswith(text)
        case {"exists": wanted}:
            return bool(wanted)
        case {"anything-but": text}:
            return bool(value != text)
        case {"numeric": [">", bound]}:
            return isinstance(value, int) and not isinstance(value, bool) and value > bound
    return type(rule) is type(value) and rule == value


@given(PATTERNS, VALUES)
@settings(max_examples=examples(150, whole=400))
def test_it_is_what_trying_everything_finds(pattern: dict[str, Any], value: Any) -> None:
    alternatives = pattern.get("$or", [pattern])
    present = leaf_paths(value)
    assert matches(pattern, value) == any(tried(each, value, (), present) for each in alternatives)


@given(OBJECTS, VALUES)
def test_dots_join_names(pattern: dict[str, Any], value: Any) -> None:
    def joined(given: dict[str, Any], above: str = "") -> dict[str, Any]:
        flat: dict[str, Any] = {}
        for name, each in given.items():
            flat |= joined(each, f"{above}{name}.") if isinstance(each, dict) else {above + name: each}
        return flat

    assert matches(pattern, value) == matches(joined(pattern), value)


@given(PATTERNS, st.binary(max_size=40) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_data_has_an_answer(pattern: dict[str, Any], data: bytes) -> None:
    on_data = parse_pattern(json.dumps({"data": pattern}))
    try:
        readable = parse_json(data.decode())
    except ValueError:
        assert not Criteria((on_data,)).passes(data, dict)
    else:
        assert Criteria((on_data,)).passes(data, dict) == on_data.matches({"data": readable})
