"""Sparkplug B: payloads as the protobuf library writes them; births, aliases, gaps and deaths."""

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("google.protobuf")

from producers.mqtt.messages import Message
from producers.mqtt.reading import Reader
from producers.mqtt.routes_toml import subscriptions_of
from producers.mqtt.sparkplug import nodes
from producers.mqtt.sparkplug.nodes import Nodes, address_of
from producers.mqtt.sparkplug.payload import decode_payload, rebirth_command, value_of
from streamgage.errors import PoisonRecord
from support.examples import examples
from support.sending import ROWS
from support.sparkplug import Payload, payload

NOW_MS = 1_767_225_600_000
U32, U64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
VALUE = st.one_of(
    U32.map(lambda value: {"int_value": value}),
    U64.map(lambda value: {"long_value": value}),
    st.floats(width=32, allow_nan=False).map(lambda value: {"float_value": value}),
    st.floats(allow_nan=False).map(lambda value: {"double_value": value}),
    st.booleans().map(lambda value: {"boolean_value": value}),
    st.text().map(lambda value: {"string_value": value}),
    st.just({}),
)
METRIC = st.builds(
    lambda fixed, value: {**fixed, **value},
    st.fixed_dictionaries(
        {}, optional={"name": st.text(), "alias": U64, "timestamp": U64, "is_historical": st.booleans(), "is_null": st.booleans(),
                      "is_transient": st.booleans(), "datatype": st.integers(1, 40)},
    ),
    VALUE,
)  # fmt: skip


@given(metrics=st.lists(METRIC, max_size=5), seq=st.none() | st.integers(0, 255), timestamp=st.none() | U64)
@settings(max_examples=examples(150, whole=5_000))
def test_a_payload_is_read_as_the_protobuf_library_wrote_it(
    metrics: list[dict[str, Any]], seq: int | None, timestamp: int | None
) -> None:
    found = decode_payload(payload(*metrics, seq=seq, timestamp=timestamp))
    assert (found.seq, found.time_ms) == (seq, timestamp)
    assert len(found.metrics) == len(metrics)
    for each, said in zip(found.metrics, metrics, strict=True):
        assert (each.name, each.alias, each.time_ms, each.data_type) == tuple(
            said.get(name) for name in ("name", "alias", "timestamp", "datatype")
        )
        assert (each.is_historical, each.is_null) == (
            said.get("is_historical", False),
            said.get("is_null", False),
        )
        assert each.raw == next((said[name] for name in said if name.endswith("_value")), None)


@given(data=st.binary(max_size=200))
@settings(max_examples=examples(150, whole=20_000))
def test_what_the_protobuf_library_refuses_is_no_payload_and_nothing_else_is_raised(data: bytes) -> None:
    try:
        decode_payload(data)
    except PoisonRecord:
        return
    # What is taken, the library takes too, but for fields that it knows by another type and we pass over.
    assert isinstance(Payload, type)


@given(bits=st.sampled_from([8, 16, 32, 64]), data=st.data())
def test_a_signed_integer_is_read_by_its_own_bits_and_by_those_of_the_field(
    bits: int, data: st.DataObject
) -> None:
    value = data.draw(st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1))
    data_type = {8: 1, 16: 2, 32: 3, 64: 4}[bits]
    field, width = ("long_value", 64) if bits == 64 else ("int_value", 32)
    for written in {value % 2**bits, value % 2**width}:
        (metric,) = decode_payload(payload({"name": "m", "datatype": data_type, field: written})).metrics
        assert value_of(metric, None) == value


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ({"datatype": 5, "int_value": 255}, 255),
        ({"datatype": 8, "long_value": 2**64 - 1}, 2**64 - 1),
        ({"datatype": 9, "float_value": 20.1}, struct.unpack("<f", struct.pack("<f", 20.1))[0]),
        ({"datatype": 11, "boolean_value": True}, True),
        ({"datatype": 12, "string_value": "x"}, "x"),
        ({"datatype": 13, "long_value": 5}, 5),
        ({"datatype": 10, "is_null": True}, None),
    ],
)
def test_a_single_value_is_taken(metric: dict[str, Any], value: object) -> None:
    (found,) = decode_payload(payload({"name": "m", **metric})).metrics
    assert value_of(found, None) == value


@pytest.mark.parametrize(
    ("metric", "told"),
    [
        ({"datatype": 16, "dataset_value": {}}, "a DataSet"),
        ({"datatype": 17, "bytes_value": b"x"}, "bytes or an array"),
        ({"datatype": 5, "int_value": 256}, "more than 8 bits"),
        ({"datatype": 1, "int_value": 2**31}, "no signed number of 8 bits"),
        ({"datatype": 10, "int_value": 1}, "data type 10"),
        ({"int_value": 1}, "no data type"),
    ],
)
def test_what_no_field_takes_is_refused_with_its_reason(metric: dict[str, Any], told: str) -> None:
    (found,) = decode_payload(payload({"name": "m", **metric})).metrics
    with pytest.raises(ValueError, match=told):
        value_of(found, None)


def test_a_node_is_asked_for_its_births_as_the_specification_says() -> None:
    asked = Payload.FromString(rebirth_command(NOW_MS))
    assert asked.timestamp == NOW_MS
    (metric,) = asked.metrics
    assert (metric.name, metric.datatype, metric.boolean_value) == ("Node Control/Rebirth", 11, True)


def test_commands_and_states_are_no_data_and_other_topics_no_sparkplug() -> None:
    assert address_of("spBv1.0/STATE/host") is None
    assert address_of("spBv1.0/g/NCMD/n") is None
    for topic in (
        "spBv1.0/g",
        "plant/1",
        "spBv1.0/g/NDATA",
        "spBv1.0/g/DDATA/n",
        "spBv1.0/g/NDATA/n/d",
        "spBv1.0/g/X/n",
    ):
        with pytest.raises(PoisonRecord):
            address_of(topic)


BIRTH = {"name": "temperature", "alias": 7, "datatype": 10, "double_value": 1.0}
DATA = {"alias": 7, "double_value": 2.0}


class Host:
    """What reads the messages of a node, and may be started again from what was kept."""

    def __init__(self, **more: Any) -> None:
        table = {
            "topic": "spBv1.0/#",
            "source": "reading",
            "payload": "sparkplug",
            "fields": {"device_id": "node", "metric": "metric", "ts": "time", "value": "value"},
            **more,
        }
        self._subscriptions = subscriptions_of([table], ROWS.sources)
        self.reader = Reader(self._subscriptions)
        self._kept: dict[str, str] = {}

    def restart(self) -> None:
        self._kept |= self.reader.nodes.changed()
        self.reader = Reader(self._subscriptions, Nodes(self._kept))

    def hear(
        self, kind: str, *metrics: dict[str, Any], seq: int | None = None
    ) -> tuple[list[float], list[str], bool]:
        """Return the values, the refusals, and whether a rebirth is asked for."""
        topic = f"spBv1.0/g/{kind}/n" + ("/d" if kind.startswith("D") else "")
        reading = self.reader.read(Message(topic, payload(*metrics, seq=seq), 1, 1, NOW_MS))
        return (
            [each.event["value"] for each in reading.events],
            reading.refused,
            reading.rebirth_of is not None,
        )


def test_an_alias_means_what_the_birth_named() -> None:
    host = Host()
    assert host.hear("NBIRTH", BIRTH, seq=0) == ([], [], False)
    assert host.hear("NDATA", DATA, seq=1) == ([2.0], [], False)


def test_a_bridge_that_starts_again_goes_on_with_the_births_it_heard() -> None:
    host = Host()
    host.hear("NBIRTH", BIRTH, seq=0)
    host.hear("DBIRTH", {**BIRTH, "name": "power", "alias": 8}, seq=1)
    host.restart()
    assert host.hear("DDATA", {"alias": 8, "double_value": 3.0}, seq=2) == ([3.0], [], False)
    host.restart()
    assert host.hear("NDATA", DATA, seq=3) == ([2.0], [], False)


def test_behind_a_gap_an_alias_is_not_believed_until_the_next_birth_and_a_name_is() -> None:
    host = Host()
    host.hear("NBIRTH", BIRTH, seq=0)
    values, refused, asks = host.hear("NDATA", DATA, {"name": "temperature", "double_value": 5.0}, seq=2)
    assert (values, asks) == ([5.0], True)
    assert "alias 7" in refused[0]
    host.hear("NBIRTH", {**BIRTH, "alias": 9}, seq=0)
    assert host.hear("NDATA", {**DATA, "alias": 9}, seq=1) == ([2.0], [], False)


def test_the_number_of_a_message_goes_on_at_0_behind_255() -> None:
    host = Host()
    host.hear("NBIRTH", BIRTH, seq=255)
    assert host.hear("NDATA", DATA, seq=0) == ([2.0], [], False)


def test_behind_a_death_an_alias_is_not_believed_unless_the_death_is_of_an_earlier_connection() -> None:
    host = Host()
    host.hear("NBIRTH", BIRTH, {"name": "bdSeq", "datatype": 4, "long_value": 2}, seq=0)
    host.hear("NDEATH", {"name": "bdSeq", "datatype": 4, "long_value": 1})
    assert host.hear("NDATA", DATA, seq=1)[0] == [2.0]
    host.hear("NDEATH", {"name": "bdSeq", "datatype": 4, "long_value": 2})
    assert host.hear("NDATA", DATA, seq=2)[0] == []


def test_a_birth_without_a_number_begins_to_count_anew() -> None:
    host = Host()
    host.hear("NBIRTH", BIRTH, seq=0)
    host.hear("NDATA", DATA, seq=1)
    host.hear("NBIRTH", BIRTH)
    assert host.hear("NDATA", DATA, seq=1) == ([2.0], [], False)


def test_births_of_more_metrics_than_a_node_may_have_are_refused_and_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(nodes, "MOST_ALIASES", 3)
    host = Host()
    host.hear("NBIRTH", BIRTH, {**BIRTH, "name": "power", "alias": 8}, seq=0)
    devices = [{**BIRTH, "name": f"m{number}", "alias": 10 + number} for number in range(2)]
    assert "more than 3 metrics" in host.hear("DBIRTH", *devices, seq=1)[1][0]
    assert host.hear("NDATA", {"alias": 10, "double_value": 1.0}, seq=2)[0] == []
    assert host.hear("DBIRTH", devices[0], seq=3) == ([], [], False)
    assert host.hear("DBIRTH", devices[0], seq=4) == ([], [], False)  # the same again is no other
    assert host.hear("DDATA", {"alias": 10, "double_value": 3.0}, seq=5)[0] == [3.0]


def test_a_node_that_was_never_born_is_asked_to_be() -> None:
    values, refused, asks = Host().hear("NDATA", DATA, seq=5)
    assert (values, len(refused), asks) == ([], 1, True)
    assert not Host(rebirth=False).hear("NDATA", DATA, seq=5)[2]


def test_the_values_of_a_birth_are_events_where_the_pipeline_says_so() -> None:
    assert Host(births="take").hear("NBIRTH", BIRTH, seq=0) == ([1.0], [], False)


def test_a_dataset_is_refused_and_the_metrics_beside_it_count() -> None:
    host = Host()
    values, refused, _ = host.hear("NBIRTH", BIRTH, seq=0)
    values, refused, _ = host.hear(
        "NDATA", DATA, {"name": "table", "datatype": 16, "dataset_value": {}}, seq=1
    )
    assert (values, refused) == ([2.0], ["undecodable: metric 'table': a DataSet, which no field takes"])


def test_what_was_recorded_before_counts_by_its_own_time() -> None:
    host = Host()
    host.hear("NBIRTH", BIRTH, seq=0)
    message = Message(
        "spBv1.0/g/NDATA/n",
        payload({**DATA, "is_historical": True, "timestamp": NOW_MS - 5}, seq=1),
        1,
        1,
        NOW_MS,
    )
    reading = host.reader.read(message)
    assert (reading.historical, [each.event["ts"] for each in reading.events]) == (1, [NOW_MS - 5])
