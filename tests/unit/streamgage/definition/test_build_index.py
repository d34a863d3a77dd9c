"""What was parsed ahead stands only for the very text that it was parsed from."""

import json
import shutil
import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path

import pytest

from processors.pipeline_files import load_pipeline
from streamgage.definition.build_index import INDEX_NAME, BuildIndex, index_text
from streamgage.formats.avro import AvroReader, AvroSchema
from support.paths import ROOT

TEXTS = [each.read_text(encoding="utf-8") for each in sorted((ROOT / "schemas").glob("*.avsc"))]
READING = (ROOT / "schemas/reading.avsc").read_text(encoding="utf-8")
DEFINITION = (ROOT / "pipeline.toml").read_text(encoding="utf-8")
NESTED = json.dumps(
    {
        "type": "record",
        "name": "a.b.Outer",
        "fields": [
            {"name": "z", "type": {"type": "enum", "name": "Kind", "symbols": ["A", "B"]}, "default": "A"},
            {
                "name": "y",
                "type": ["null", {"type": "record", "name": "In", "fields": [{"name": "k", "type": "Kind"}]}],
            },
            {"name": "x", "type": {"type": "fixed", "name": "Six", "size": 6}},
            {"name": "w", "type": {"type": "long", "logicalType": "timestamp-millis"}, "default": 5},
        ],
    }
)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """The folder of a definition, with an index, as the bundle has it."""
    shutil.copytree(ROOT / "schemas", tmp_path / "schemas")
    shutil.copyfile(ROOT / "pipeline.toml", tmp_path / "pipeline.toml")
    (tmp_path / INDEX_NAME).write_text(index_text(schemas=TEXTS, definition=DEFINITION), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("text", [*TEXTS, NESTED])
def test_an_entry_is_what_parsing_gives_and_decodes_as_well(text: str) -> None:
    parsed, indexed = (
        AvroSchema.parse(text),
        BuildIndex.of_text(index_text(schemas=[text], definition="")).schema(text),
    )
    assert (indexed, indexed.parsed) == (parsed, parsed.parsed)
    assert list(indexed.fields) == list(parsed.fields)  # in their order: it is that of the bytes
    if text is READING:
        event = {"device_id": "d", "metric": "m", "ts": 1, "value": 0.5, "tags": {"a": "b"}}
        assert AvroReader(indexed).decode(parsed.encode(event)) == event
        assert indexed.encode(event) == parsed.encode(event)


def test_a_text_that_differs_by_a_byte_is_parsed_in_full() -> None:
    index = BuildIndex.of_text(index_text(schemas=[READING], definition=""))
    assert list(index.schema(READING.replace('"value"', '"volts"')).fields) == [
        "device_id",
        "metric",
        "ts",
        "volts",
        "tags",
    ]
    assert index.schema(READING + " ").prefix == AvroSchema.parse(READING).prefix
    with pytest.raises(ValueError, match="not a valid Avro schema"):
        index.schema(READING[:-2])


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "{}", '{"format": 0, "schemas": {}, "tomls": {}}', '{"format": 3}']
)
def test_what_is_no_index_of_this_format_counts_as_none(text: str) -> None:
    assert BuildIndex.of_text(text).schema(READING) == AvroSchema.parse(READING)


def test_invalid_schemas_are_left_out_and_so_reported_as_without_an_index() -> None:
    assert index_text(schemas=["nonsense", READING], definition="") == index_text(
        schemas=[READING], definition=""
    )


def test_a_definition_is_what_tomllib_gives_and_a_changed_one_is_parsed_in_full() -> None:
    index = BuildIndex.of_text(index_text(schemas=[], definition=DEFINITION))
    assert index.toml(DEFINITION) == tomllib.loads(DEFINITION)
    assert index.toml(DEFINITION + "\nx = 1") == {**tomllib.loads(DEFINITION + "\nx = 1")}
    with pytest.raises(tomllib.TOMLDecodeError):
        index.toml(DEFINITION + "\nx")


def test_a_definition_with_a_date_is_not_in_the_index_and_its_schemas_are() -> None:
    text = "since = 2026-01-01\n"
    content = json.loads(index_text(schemas=[READING], definition=text))
    assert (content["tomls"], len(content["schemas"])) == ({}, 1)
    assert BuildIndex(content["schemas"], content["tomls"]).toml(text) == {"since": date(2026, 1, 1)}


def test_a_definition_beside_its_index_is_the_same_and_a_changed_schema_is_seen(bundle: Path) -> None:
    plain, indexed = load_pipeline(ROOT / "pipeline.toml"), load_pipeline(bundle / "pipeline.toml")
    assert indexed == plain
    assert [each.scales for each in indexed.sources.values()] == [
        each.scales for each in plain.sources.values()
    ]
    changed = READING.replace("streamgage", "elsewhere")
    (bundle / "schemas/reading.avsc").write_text(changed, encoding="utf-8")
    assert load_pipeline(bundle / "pipeline.toml").sources["reading"].schema == AvroSchema.parse(changed)


def test_a_definition_beside_its_index_is_loaded_without_their_parsers(bundle: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from processors.pipeline_files import load_pipeline\n"
        "load_pipeline(Path(sys.argv[1])); print({'fastavro', 'tomllib'} & set(sys.modules) or 'neither')"
    )
    for expected in ({"neither"}, {"{'fastavro', 'tomllib'}", "{'tomllib', 'fastavro'}"}):
        child = subprocess.run(
            [sys.executable, "-P", "-c", script, str(bundle / "pipeline.toml")],
            capture_output=True,
            check=True,
            text=True,
            timeout=60,
        )
        assert child.stdout.strip() in expected
        (bundle / INDEX_NAME).unlink(missing_ok=True)
