import json
from typing import Any

import pytest

from streamgage.errors import PoisonRecord
from streamgage.formats.avro import AvroReader, AvroSchema
from support.paths import ROOT


def crc_64_avro(text: bytes) -> int:
    """Return the Rabin fingerprint, bit by bit. Source: Avro specification, "Schema Fingerprints"."""
    empty = 0xC15D213AA4D7A795
    fingerprint = empty
    for byte in text:
        low = (fingerprint ^ byte) & 0xFF
        for _ in range(8):
            low = (low >> 1) ^ (empty if low & 1 else 0)
        fingerprint = (fingerprint >> 8) ^ low
    return fingerprint


def schema(*fields: tuple[Any, ...], name: str = "Reading") -> AvroSchema:
    keys = ("name", "type", "default")
    return AvroSchema.parse(
        json.dumps(
            {"type": "record", "name": name, "fields": [dict(zip(keys, f, strict=False)) for f in fields]}
        )
    )


READING = AvroSchema.parse((ROOT / "schemas/reading.avsc").read_text())
CANONICAL = (
    b'{"name":"streamgage.Reading","type":"record","fields":[{"name":"device_id","type":"string"},'
    b'{"name":"metric","type":"string"},{"name":"ts","type":"long"},{"name":"value","type":"double"},'
    b'{"name":"tags","type":["null",{"type":"map","values":"string"}]}]}'
)
EVENT = {"device_id": "d1", "metric": "temp", "ts": 1_700_000_000_000, "value": 21.5, "tags": {"room": "k"}}


def test_the_reference_fingerprint_is_that_of_the_specification() -> None:
    # avro/share/test/data/schema-tests.txt
    assert crc_64_avro(b'"null"') == 0x63DD24E7CC258F8A


def test_an_object_begins_with_the_marker_and_the_little_endian_fingerprint_of_the_canonical_schema() -> None:
    assert READING.encode(EVENT)[:10] == b"\xc3\x01" + crc_64_avro(CANONICAL).to_bytes(8, "little")


def test_the_body_is_avro_binary() -> None:
    body = READING.encode({**EVENT, "ts": 3, "tags": None})[10:]
    assert body == b"\x04d1\x08temp\x06" + bytes.fromhex("0000000000803540") + b"\x00"


def test_an_event_comes_back_with_its_defaults() -> None:
    reader = AvroReader(READING)
    assert reader.decode(READING.encode(EVENT)) == EVENT
    plain = {name: value for name, value in EVENT.items() if name != "tags"}
    assert reader.decode(READING.encode(plain)) == {**EVENT, "tags": None}


def test_older_and_newer_writers_are_read_by_the_readers_schema() -> None:
    reader = schema(("id", "string"), ("ts", "long"), ("value", "double"), ("unit", "string", "C"))
    oldest = schema(("id", "string"), ("ts", "int"), ("value", "float"), ("gone", ["null", "string"], None))
    decode = AvroReader(reader, [oldest]).decode
    written = oldest.encode({"id": "a", "ts": 5, "value": 0.5, "gone": "x"})
    assert decode(written) == {"id": "a", "ts": 5, "value": 0.5, "unit": "C"}
    integers = schema(("id", "string"), ("ts", "int"), ("value", "int"), ("unit", "string"))
    decode = AvroReader(reader, [oldest, integers]).decode
    assert decode(integers.encode({"id": "a", "ts": 5, "value": 7, "unit": "F"})) == {
        "id": "a",
        "ts": 5,
        "value": 7,
        "unit": "F",
    }


def test_an_object_cut_at_any_byte_is_poison() -> None:
    whole, reader = READING.encode(EVENT), AvroReader(READING)
    for size in range(len(whole)):
        with pytest.raises(PoisonRecord) as poison:
            reader.decode(whole[:size])
        assert poison.value.code == ("undecodable" if size >= 10 else "unknown_schema")


def test_the_reason_is_the_same_on_every_delivery() -> None:
    reasons = set()
    for _ in range(3):
        with pytest.raises(PoisonRecord) as poison:
            AvroReader(READING).decode(READING.encode(EVENT)[:30])
        reasons.add(poison.value.reason)
    assert len(reasons) == 1
    assert "0x" not in reasons.pop()


@pytest.mark.parametrize("old", [READING, schema(("id", "string"), ("n", "int"))], ids=["same", "resolved"])
def test_any_byte_changed_is_an_event_or_poison_and_nothing_else(old: AvroSchema) -> None:
    event = EVENT if old is READING else {"id": "abc", "n": 70_000}
    reader = AvroReader(READING if old is READING else schema(("id", "string"), ("n", "long")), [old])
    whole = old.encode(event)
    for at in range(10, len(whole)):
        for byte in range(256):
            try:
                reader.decode(whole[:at] + bytes((byte,)) + whole[at + 1 :])
            except PoisonRecord as poison:
                assert poison.code == "undecodable"  # noqa: PT017 - most changes raise nothing


def test_bytes_left_over_are_poison() -> None:
    with pytest.raises(PoisonRecord, match="2 bytes left over"):
        AvroReader(READING).decode(READING.encode(EVENT) + b"\x00\x00")


def test_an_unknown_fingerprint_is_poison_that_names_it() -> None:
    with pytest.raises(PoisonRecord, match="0102030405060708"):
        AvroReader(READING).decode(b"\xc3\x01" + bytes(range(1, 9)) + b"body")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"value": "warm"}, "value"),
        ({"ts": 1.5}, "ts"),
        ({"ts": 2**63}, "ts"),
        ({"device_id": None}, "device_id"),
        ({"colour": "red"}, "colour"),
        ({"tags": {"a": 1}}, "tags"),
    ],
)
def test_an_event_that_does_not_fit_is_refused_by_name(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=f"does not fit schema streamgage.Reading.*{named}"):
        READING.encode({**EVENT, **change})


@pytest.mark.parametrize("missing", ["device_id", "ts", "value"])
def test_a_missing_field_is_refused_by_name(missing: str) -> None:
    with pytest.raises(ValueError, match=missing):
        READING.encode({name: value for name, value in EVENT.items() if name != missing})


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '"string"',
        '{"type": "record"}',
        '{"type": "record", "name": "A", "fields": [{"name": "x", "type": "wood"}]}',
    ],
)
def test_what_is_no_record_schema_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"schema"):
        AvroSchema.parse(text)
