"""Definitions that once broke the reader of pipeline.toml, each by hand."""

import tracemalloc

import pytest

from fuzz.promises import Memory
from streamgage.definition.pipeline_toml import parse_pipeline
from streamgage.errors import ConfigError
from streamgage.limits import MIB

HEX = "0x" + "f" * 5000


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "9" * 5000,
        "a = " + HEX,
        f'[[sources]]\nname = "s"\nschema = "none"\nscale = {{a = {HEX}}}\n',
        "[[rollups]]\ngeneration = " + HEX,
        f"[[rollups]]\nwindows = [{HEX}]",
        f"[[rollups]]\nkeep = {HEX}",
        f"[[rollups]]\nmeasures = {{a = {HEX}}}",
        "[[sources]]\nname = " + HEX,
        "[[rollups]]\nkeep." + ".".join("a" * 200) + " = 1",
        "a = " + "[" * 5000,
        "a = {b = " * 2000,
        ".".join("a" * 100_000) + " = 1",
        "[" + ".".join("a" * 100_000) + "]",
        "[[sources]]\nname = 1979-05-27\nschema = 07:32:00\npartition_key = 1979-05-27T07:32:00-07:00",
        '[[sources]]\nname = "s"\nschema = "a\\u0000b"',
    ],
    ids=lambda text: repr(text)[:40],
)
def test_a_hostile_definition_is_told_in_little_memory(text: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ConfigError) as caught:
            parse_pipeline(text, Memory())
        assert tracemalloc.get_traced_memory()[1] < 4 * MIB
    finally:
        tracemalloc.stop()
    assert all(0 < len(each) < 1000 for each in caught.value.problems)
