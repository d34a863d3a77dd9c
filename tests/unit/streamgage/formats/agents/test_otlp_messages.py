"""A request of OTLP that is nothing but empty messages is refused before it has cost what it could."""

import pytest

from streamgage.errors import PoisonRecord
from streamgage.formats.agents.otlp_proto import points_of
from streamgage.formats.varint import encode_varint

MANY = 300_000


def message(number: int, body: bytes) -> bytes:
    return bytes([number << 3 | 2]) + encode_varint(len(body)) + body


def empty(number: int) -> bytes:
    return bytes([number << 3 | 2, 0]) * MANY


BODIES = {
    "resources": empty(1),
    "attributes of a resource": message(1, message(1, empty(1))),
    "scopes": message(1, empty(2)),
    "metrics": message(1, message(2, empty(2))),
    "data of a metric": message(1, message(2, message(2, empty(5)))),
    "points": message(1, message(2, message(2, message(5, empty(1))))),
}


@pytest.mark.parametrize("name", BODIES)
def test_more_messages_than_any_batch_has_are_poison(name: str) -> None:
    with pytest.raises(PoisonRecord, match="more than 262,144 messages"):
        next(points_of(BODIES[name]))


def test_empty_messages_within_the_bound_are_no_points() -> None:
    assert list(points_of(BODIES["resources"][: 2 * 1_000])) == []
