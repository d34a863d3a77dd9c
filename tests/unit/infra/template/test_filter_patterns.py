"""Filter patterns, case by case: what AWS documents for Lambda, and what EventBridge was recorded to answer.

The recorded cases (R) are facts from LocalStack's AWS-validated test_events_patterns at commit 8b9a79f0; the documented
ones (D) are of invocation-eventfiltering and with-kinesis-filtering in Lambda's guide.
"""

import json
from typing import Any

import pytest

from infra.template.filtering.criteria import parse_criteria
from infra.template.filtering.pattern import parse_json, parse_pattern
from infra.template.filtering.rules import InvalidPattern

MATCHES: list[tuple[dict[str, Any], Any]] = [
    ({"a": ["x", "y"]}, {"a": "y", "b": 1}),  # D: or within a field
    ({"a": ["x"], "b": [1]}, {"a": "x", "b": 1}),  # D: and of fields
    ({"a": [None]}, {"a": None}),  # R
    ({"a": [""]}, {"a": ""}),  # R
    ({"a": [False]}, {"a": False}),  # R
    ({"a": [300]}, {"a": 300.0}),  # R
    ({"a": [{"numeric": [">", 100]}]}, {"a": 101.0}),  # R
    ({"a": [{"numeric": ["=", 3.018e2]}]}, {"a": 301.8}),  # R
    ({"a": [{"numeric": [">", 0, "<=", 5]}]}, {"a": 5}),  # R
    ({"a": [{"numeric": ["<", 10]}]}, {"a": -3}),
    ({"a": [{"prefix": "ab"}]}, {"a": "abc"}),
    ({"a": [{"prefix": ""}]}, {"a": "abc"}),  # R
    ({"a": [{"suffix": ".png"}]}, {"a": "image.png"}),  # R
    ({"a": [{"suffix": ""}]}, {"a": "image.png"}),  # R
    ({"a": [{"equals-ignore-case": "STATE change"}]}, {"a": "State Change"}),  # R
    ({"a": [{"equals-ignore-case": ""}]}, {"a": ""}),  # R
    ({"a": [{"anything-but": "init"}]}, {"a": "pending"}),  # R
    ({"a": [{"anything-but": "init"}]}, {"a": None}),  # R: null is something
    ({"a": [{"anything-but": ["init", "stop"]}]}, {"a": 12}),
    ({"a": [{"anything-but": 0}]}, {"a": 789}),  # R
    ({"a": [{"anything-but": [100, 200]}]}, {"a": 999}),  # R
    ({"a": [{"exists": True}]}, {"a": None}),
    ({"a": {"b:": {"c": [{"exists": False}]}}}, {"a": {"b": "v"}}),  # R
    ({"a": [{"exists": False}]}, {"a": {"b": 1}}),  # D: exists looks at values, not at what holds them
    ({"a": [{"exists": True}, {"prefix": "no"}]}, {"a": "x"}),  # R
    ({"a": {"s": [{"anything-but": ["roses"]}, {"exists": False}]}}, {"a": {"n": "7"}}),  # R
    ({"a": {"s": [{"anything-but": ["roses"]}, {"exists": False}]}}, {}),  # R
    ({"a": {"id": [{"exists": True}]}}, {"a": [{"k": 1}, {"id": "x"}, {"l": 2}]}),  # R
    ({"a": ["x"]}, {"a": ["w", "x"]}),  # R: an array holds if an element does
    ({"a": {"b": ["r"]}}, {"a.b": "r"}),  # R: dots join names
    ({"a.b": ["r"]}, {"a": {"b": "r"}}),  # R
    ({"a": {"x": [1], "y": [2]}}, {"a": [{"x": 1, "y": 1}, {"x": 1, "y": 2}]}),
    ({"$or": [{"a": [{"numeric": [">", 0]}]}, {"b": [{"numeric": ["<", 10]}]}]}, {"a": 0, "b": 0}),  # R
    ({"$or": [{"a": [1]}, {"b": [2]}], "c": [3]}, {"b": 2, "c": 3}),  # D: or of fields, and another
    ({"$or": ["x"]}, {"$or": "x"}),  # one that is no list of objects is a field of this name
]
MISSES: list[tuple[dict[str, Any], Any]] = [
    ({"a": ["x"], "b": [1]}, {"a": "x"}),
    ({"a": [None]}, {"a": "null"}),  # R
    ({"a": [None]}, {"a": []}),  # R: an empty array has no value
    ({"a": [None]}, {}),
    ({"a": [False]}, {"a": True}),  # R
    ({"a": [False]}, {"a": 0}),
    ({"a": [1]}, {"a": True}),
    ({"a": [1]}, {"a": "1"}),
    ({"A": ["x"]}, {"a": "x"}),  # R
    ({"a": [{"numeric": [">", 100]}]}, {"a": "300"}),  # R
    ({"a": [{"numeric": [">", 100]}]}, {"a": None}),  # R
    ({"a": [{"numeric": [">", 100]}]}, {"a": 5_000_000_001}),  # beyond what is compared
    ({"a": [{"numeric": [">", 0, "<=", 5]}]}, {"a": 0}),
    ({"a": [{"suffix": ".PNG"}]}, {"a": "image.png"}),  # R
    ({"a": [{"prefix": "1"}]}, {"a": 12}),
    ({"a": [{"equals-ignore-case": ""}]}, {"a": "v"}),  # R
    ({"a": [{"anything-but": "init"}]}, {}),  # R: there has to be something
    ({"a": [{"anything-but": [100, 300]}]}, {"a": 300}),  # R
    ({"a": [{"exists": True}]}, {"a": {"b": 1}}),  # R
    ({"a": [{"exists": True}]}, {"a": []}),  # R
    ({"a": [{"exists": False}]}, {"a": None}),
    ({"a": ["x"]}, {"a": '{"a": "x"}'}),  # R
    ({"a.b": {"b": ["r"]}}, {"a": {"b": "r"}}),  # R
    ({"a": {"x": [1], "y": [2]}}, {"a": [{"x": 1}, {"y": 2}]}),  # not in one element
    ({"a": {"x": [1], "y": [{"exists": False}]}}, {"a": [{"x": 1}, {"y": 2}]}),
    ({"$or": [{"a": [{"numeric": [">", 0]}]}, {"b": [{"numeric": ["<", 10]}]}]}, {"a": 0, "b": 10}),  # R
]
INVALID: list[tuple[Any, str]] = [
    (None, "not an object"),  # R, for Lambda
    ("simple string", "not an object"),
    ({"a": "x"}, "must be an object or an array"),  # R, for Lambda
    ({"a": 42}, "must be an object or an array"),  # R
    ({"a": []}, "empty arrays"),  # R, for Lambda
    ({}, "empty objects"),
    ({"a": {}}, "empty objects"),
    ({"a": [["x"]]}, "an array stands within"),
    ({"a": [{"EXISTS": True}]}, "unrecognized match type EXISTS"),  # R
    ({"a": [{"exists": "yes"}]}, "true or false"),
    ({"a": [{"prefix": 123}]}, "must be a string"),  # R
    ({"a": [{"suffix": [".png"]}]}, "must be a string"),  # R
    ({"a": [{"equals-ignore-case": ["x"]}]}, "must be a string"),  # R
    ({"a": [{"prefix": {"equals-ignore-case": "x"}}]}, "must be a string"),
    ({"a": [{"numeric": 10}]}, "must be an array"),  # R
    ({"a": [{"numeric": []}]}, "must be an array"),
    ({"a": [{"numeric": [">", 0, "<"]}]}, "pairs"),  # R
    ({"a": [{"numeric": [">", "0"]}]}, "must be numeric"),
    ({"a": [{"numeric": [">", 0, ">", 0]}]}, "bad numeric range operator"),  # R
    ({"a": [{"numeric": ["<", 5, ">", 0]}]}, "bad numeric range operator"),
    ({"a": [{"numeric": [">", 5, "<", 5]}]}, "bottom must be less"),
    ({"a": [{"numeric": ["=", 5_000_000_001]}]}, "between"),
    ({"a": [{"anything-but": None}]}, "strings only"),  # R
    ({"a": [{"anything-but": ["x", None]}]}, "strings only"),  # R
    ({"a": [{"anything-but": ["x", 1]}]}, "strings only"),
    ({"a": [{"anything-but": []}]}, "empty arrays"),
    ({"a": [{"anything-but": {"prefix": "x"}}]}, "EventBridge"),
    ({"a": [{"wildcard": "x*"}]}, "EventBridge"),
    ({"a": [{"cidr": "10.0.0.0/8"}]}, "EventBridge"),
    ({"a": [{"prefix": "x", "suffix": "y"}]}, "one operator"),
    ({"a" * 5000: ["x"]}, "4096"),
]


def case(value: Any) -> str:
    return json.dumps(value)[:60]


@pytest.mark.parametrize(("pattern", "event"), MATCHES, ids=case)
def test_it_matches(pattern: Any, event: Any) -> None:
    assert parse_pattern(json.dumps(pattern)).matches(parse_json(json.dumps(event)))


@pytest.mark.parametrize(("pattern", "event"), MISSES, ids=case)
def test_it_does_not_match(pattern: Any, event: Any) -> None:
    assert not parse_pattern(json.dumps(pattern)).matches(parse_json(json.dumps(event)))


@pytest.mark.parametrize(("pattern", "why"), INVALID, ids=case)
def test_it_is_refused(pattern: Any, why: str) -> None:
    with pytest.raises(InvalidPattern, match=why):
        parse_pattern(json.dumps(pattern))


@pytest.mark.parametrize("text", ["", "{", "{'a': ['x']}", '{"a": [NaN]}', '{"a": [1]} x', "[" * 4000])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(InvalidPattern):
        parse_pattern(text)


def test_a_name_that_is_given_twice_is_the_last_one_as_recorded() -> None:
    pattern = parse_pattern('{"a": [{"prefix": "us-"}], "a": [{"anything-but": "us-east"}]}')
    assert pattern.matches({"a": "eu-central-1"})


def test_numbers_are_compared_without_rounding() -> None:
    pattern = parse_pattern('{"a": [9007199254740993]}')
    assert pattern.matches(parse_json('{"a": 9007199254740993}'))
    assert not pattern.matches(parse_json('{"a": 9007199254740992}'))
    assert not pattern.matches(parse_json('{"a": 1e99999999999999999999}'))


def test_depth_and_combinations_are_bounded() -> None:
    with pytest.raises(InvalidPattern, match="deeper than 100"):
        parse_pattern('{"a":' * 200 + '["x"]' + "}" * 200)
    fields = ",".join(f'"{name}":{{"$or":[{{"x":[1]}},{{"y":[2]}}]}}' for name in "abcdefghijk")
    with pytest.raises(InvalidPattern, match="more than 1000 combinations"):
        parse_pattern("{" + fields + "}")


def test_a_record_that_nests_deeply_is_matched_without_recursion() -> None:
    event: Any = "x"
    for _ in range(5000):
        event = [event]
    assert parse_pattern('{"a": ["x"]}').matches({"a": event})


def criteria(*patterns: object) -> dict[str, object]:
    return {"Filters": [{"Pattern": json.dumps(pattern)} for pattern in patterns]}


def passes(given: object, data: bytes, **fields: Any) -> bool:
    parsed, problems = parse_criteria(given)
    assert parsed is not None, problems
    return parsed.passes(data, lambda: fields)


def test_a_record_passes_where_one_of_the_filters_matches() -> None:
    two = criteria({"data": {"a": [1]}}, {"data": {"b": [2]}})
    assert [passes(two, data) for data in (b'{"a": 1}', b'{"b": 2}', b'{"a": 2}')] == [True, True, False]


@pytest.mark.parametrize("data", [b"plain", b"\xf3\x89\x9a\xc2", b"\xff", b"", b"NaN", b"[" * 100_000])
def test_data_that_is_not_json_is_dropped_where_the_pattern_is_on_data_and_else_does_not_matter(
    data: bytes,
) -> None:
    assert not passes(criteria({"data": {"a": [{"exists": False}]}}), data)
    assert not passes(criteria({"data": {"a": [1]}, "partitionKey": ["k"]}), data, partitionKey="k")
    assert passes(criteria({"partitionKey": ["k"]}), data, partitionKey="k")
    assert passes(criteria({"data": {"a": [1]}}, {"partitionKey": ["k"]}), data, partitionKey="k")


def test_a_pattern_on_the_nested_event_finds_nothing_there() -> None:
    assert not passes(criteria({"kinesis": {"partitionKey": ["k"]}}), b"{}", partitionKey="k")


def test_no_filters_are_no_criteria() -> None:
    nothing: list[object] = [None, {}, {"Filters": []}]
    assert [parse_criteria(given) for given in nothing] == [(None, [])] * 3


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ([], "must be {Filters"),
        ({"Filters": {}}, "must be {Filters"),
        ({"Filters": [{"Pattern": {"data": {"a": [1]}}}]}, "a text of JSON"),
        ({"Filters": [{"pattern": "{}"}]}, "a text of JSON"),
        (criteria(*[{"data": {"a": [1]}}] * 11), "11 filters"),
        (criteria({"data": ["text"]}), "valid JSON format"),
        (criteria({"data": "text"}), "must be an object or an array"),
        (criteria({"data": {"a": [1]}}, {"eventSource": []}), "filter 2: Invalid filter pattern definition"),
    ],
    ids=case,
)
def test_criteria_that_lambda_refuses_are_refused(given: object, why: str) -> None:
    parsed, (problem,) = parse_criteria(given)
    assert parsed is None
    assert why in problem
