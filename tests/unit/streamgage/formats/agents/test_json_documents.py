"""Several JSON documents in one record."""

from typing import Any

import pytest

from streamgage.errors import PoisonRecord
from streamgage.formats.agents.items import Refused
from streamgage.formats.agents.json_documents import PathValues, documents_in


def found(text: str) -> list[Any]:
    return ["refused" if isinstance(each, Refused) else each[1] for each in documents_in(text.encode())]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a":1}{"a":2}', [{"a": 1}, {"a": 2}]),
        ('{"a":1}\n{"a":2}\r\n\n{"a":3}\n', [{"a": 1}, {"a": 2}, {"a": 3}]),
        ('\n [{"a":1}, {"a":2}] ', [{"a": 1}, {"a": 2}]),
        ('{\n "a": {\n  "b": [1,\n 2]}\n}\n{"a":2}', [{"a": {"b": [1, 2]}}, {"a": 2}]),
        ('\x1e{"a":1}\n\x1e{"a":2}\n', [{"a": 1}, {"a": 2}]),
        ('[{"a":1}, 7, {"a":2}]', [{"a": 1}, "refused", {"a": 2}]),
        ("[]", []),
        ("", []),
        ('{"a":1}\n{"a":\n{"a":3}\n', [{"a": 1}, "refused", {"a": 3}]),
        ('{"a":1}\n{"a"1}\n{"a":3}\n', [{"a": 1}, "refused", {"a": 3}]),
        ('{"a":1}\n{"a":"x\n{"a":3}\n', [{"a": 1}, "refused", {"a": 3}]),
        ('{"a":1}\n{"a":NaN}\n{"a":3}\n', [{"a": 1}, "refused", {"a": 3}]),
        ('{"a":1}\nx\n{"a":3}\n', [{"a": 1}, "refused"]),
        ('{"a":1}, {"a":2}', [{"a": 1}, "refused"]),
        ('[{"a":1},\n{"a"}\n]\n{"a":3}', ["refused"]),
    ],
)
def test_documents_stand_behind_each_other_on_lines_or_in_an_array(text: str, expected: list[Any]) -> None:
    assert found(text) == expected


def test_what_is_broken_has_its_place() -> None:
    refused = [each for each in documents_in(b'{"a":1}\n{"a"}\n{"b"}') if isinstance(each, Refused)]
    assert [each.reason[:9] for each in refused] == ["event 2: ", "event 3: "]


def test_bytes_that_are_not_utf8_are_poison() -> None:
    with pytest.raises(PoisonRecord, match="UTF-8"):
        list(documents_in(b'{"a":"\xff"}'))


@pytest.mark.parametrize(
    "piece",
    [
        '{"x":[0,\n',
        "{",
        "[",
        '{"a":',
        '{"a":"',
        "{\n",
        '{"a":NaN}\n',
        '{"a":1}',
        '{"a":1}\n',
        '{"a":[\n{"b":1},\n',
        "{}",
        "\n{x",
    ],
)
def test_the_work_grows_with_the_bytes(piece: str) -> None:
    assert list(documents_in(piece.encode() * 30_000))


def test_a_value_is_found_by_its_path() -> None:
    values = PathValues({"a": {"b": {"c": 1}}, "d.e": 2, "n": None, "l": [1]})
    paths = ("a.b.c", r"d\.e", "a.x.c", "n", "n.m", "l.0", "a.b")
    assert [values.get(each) for each in paths] == [1, 2, None, None, None, None, {"c": 1}]
