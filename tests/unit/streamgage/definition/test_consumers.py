"""Who counts what: consumers of a definition, and the fingerprint of what each counts."""

import pytest

from processors.pipeline_files import FilesIn
from streamgage.definition.fingerprint import (
    counts_of,
    definition_of,
    definition_text,
    differences,
    parse_definition,
)
from streamgage.definition.pipeline import Pipeline
from streamgage.definition.pipeline_toml import parse_pipeline
from streamgage.errors import ConfigError
from support.paths import ROOT

SOURCES = """
[[sources]]
name = "reading"
schema = "schemas/reading.avsc"
partition_key = "device_id"
event_time = "ts"
[[sources]]
name = "click"
schema = "schemas/click.avsc"
partition_key = "visitor_id"
event_time = "ts"
"""
SUMS = """
[[rollups]]
name = "sums"
source = "reading"
key = ["device_id", "metric"]
windows = ["1m", "1h"]
[rollups.measures]
value = ["sum", "min"]
"""
PAGES = """
[[rollups]]
name = "pages"
source = "click"
key = ["page"]
windows = ["1d"]
consumer = "web"
[rollups.measures]
bytes = ["sum"]
ts = ["max"]
"""


def defined(text: str) -> Pipeline:
    return parse_pipeline(text, FilesIn(ROOT))


def counts(text: str, name: str = "sums") -> str:
    pipeline = defined(text)
    return counts_of(pipeline, pipeline.rollups[name])


def test_a_rollup_is_counted_by_main_unless_it_names_another() -> None:
    pipeline = defined(SOURCES + SUMS + PAGES)
    assert pipeline.consumers == ("main", "web")
    assert [each.consumer for each in pipeline.rollups.values()] == ["main", "web"]


def test_a_consumer_has_its_rollups_and_passes_over_the_sources_that_none_of_them_reads() -> None:
    pipeline = defined(SOURCES + SUMS + PAGES)
    web = pipeline.of_consumer("web")
    assert [*web.rollups, *web.sources, *web.passed_over] == ["pages", "click", "reading"]
    assert web.of_consumer("web") == web
    with pytest.raises(ConfigError, match="no rollup has the consumer 'wbe'; there are: main, web"):
        pipeline.of_consumer("wbe")


def test_the_consumer_that_is_meant_is_the_only_one_or_the_one_that_is_named() -> None:
    several, one = defined(SOURCES + SUMS + PAGES), defined(SOURCES + PAGES)
    assert (one.consumer_for(None), several.consumer_for("web")) == ("web", "web")
    with pytest.raises(ConfigError, match="several consumers: main, web"):
        several.consumer_for(None)
    with pytest.raises(ConfigError, match="'main'; there are: web"):
        one.consumer_for("main")


def test_a_fingerprint_is_eleven_characters_that_never_change_by_themselves() -> None:
    # Golden: items on disk carry it. Another text here refuses every item that was ever written.
    assert counts(SOURCES + SUMS) == "fRJNZTwRV4M"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('windows = ["1m", "1h"]', 'windows = ["1m", "1h"]\nconsumer = "other"'),
        ('source = "reading"', 'source = "reading2"'),
        ('event_time = "ts"\n[[sources]]\nname = "click"', 'event_time = "at"\n[[sources]]\nname = "click"'),
        ('key = ["device_id", "metric"]', 'key = ["metric", "device_id"]'),
        ('key = ["device_id", "metric"]', 'key = ["device_id"]'),
        ('key = ["device_id", "metric"]', 'key = ["device_id", "metric"]\ntogether = ["metric"]'),
        ('value = ["sum", "min"]', 'value = ["sum", "max"]'),
        ('value = ["sum", "min"]', 'value = ["sum", "min"]\nts = ["max"]'),
        ('event_time = "ts"\n[[sources]]\nname = "click"',
         'event_time = "ts"\nscale = {value = 3}\n[[sources]]\nname = "click"'),
    ],
    ids=["consumer", "source", "event time", "order of keys", "keys", "together", "measures", "fields", "scale"],
)  # fmt: skip
def test_whatever_changes_what_is_counted_changes_the_fingerprint(old: str, new: str) -> None:
    schema = (ROOT / "schemas/reading.avsc").read_text()
    with_at = schema.replace('"name": "ts"', '"name": "at"').replace("Reading", "Reading2")

    class Files(FilesIn):
        def read(self, path: str) -> str:
            return with_at if path == "at.avsc" else super().read(path)

        def versions(self, path: str) -> list[str]:
            return [] if path == "at.avsc" else super().versions(path)

    text = SOURCES + SUMS
    assert text.count(old) == 1
    changed = text.replace(old, new)
    if "reading2" in new:
        changed = changed.replace('name = "reading"', 'name = "reading2"')
    if '"at"' in new:
        changed = changed.replace('"schemas/reading.avsc"', '"at.avsc"')
    pipeline = parse_pipeline(changed, Files(ROOT))
    assert counts_of(pipeline, pipeline.rollups["sums"]) != counts(text)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('value = ["sum", "min"]', 'value = ["min", "sum"]'),
        ('windows = ["1m", "1h"]', 'windows = ["60m", "1m"]'),
        ('windows = ["1m", "1h"]', 'windows = ["1m", "1h", "1d"]'),
        ('windows = ["1m", "1h"]', 'windows = ["1m", "1h"]\nkeep = "90d"'),
        ('windows = ["1m", "1h"]', 'windows = ["1m", "1h"] # a comment\nconsumer = "main"'),
        ('windows = ["1m", "1h"]', 'windows = ["1m", "1h"]\ngeneration = 2'),
        ('event_time = "ts"', 'event_time = "ts"\nmax_lateness = "7d"\nblocks = true'),
        ('partition_key = "device_id"', 'partition_key = "metric"'),
    ],
)
def test_what_is_no_part_of_an_item_does_not_change_its_fingerprint(old: str, new: str) -> None:
    text = SOURCES + SUMS
    assert counts(text.replace(old, new, 1)) == counts(text)


def test_the_order_of_fields_and_of_rollups_says_nothing() -> None:
    turned = PAGES.replace('bytes = ["sum"]\nts = ["max"]', 'ts = ["max"]\nbytes = ["sum"]')
    assert turned != PAGES
    assert counts(SOURCES + SUMS + PAGES, "pages") == counts(SOURCES + turned + SUMS, "pages")


def test_a_definition_is_every_window_of_every_rollup_of_a_consumer_with_its_generation() -> None:
    pipeline = defined(SOURCES + SUMS + PAGES)
    keep = pipeline.rollups["sums"].keep_ms
    sums = f"{counts_of(pipeline, pipeline.rollups['sums'])}@{'ever' if keep is None else keep}"
    assert definition_of(pipeline, "main") == {"sums.1|1m": sums, "sums.1|1h": sums}
    assert definition_of(pipeline, "web").keys() == {"pages.1|1d"}
    more = defined((SOURCES + SUMS).replace('"1h"]', '"1h", "1d"]\ngeneration = 2'))
    assert definition_of(more, "main") == {f"sums.2|{each}": sums for each in ("1m", "1h", "1d")}


def test_a_definition_comes_back_from_its_text() -> None:
    definition = definition_of(defined(SOURCES + SUMS + PAGES.replace('consumer = "web"\n', "")), "main")
    text = definition_text(definition)
    assert text.count(";") == 1
    assert parse_definition(text) == definition
    for broken in ("", "sums.1", "sums.1=abc", f"{text};"):
        with pytest.raises(ValueError, match="is not rollup"):
            parse_definition(broken)


def test_differences_name_each_window_of_a_rollup() -> None:
    before = {"a.1|1m": "x", "a.1|1h": "x", "b.1|1m": "y"}
    assert differences(before, before) == []
    assert [
        each.split(":")[0] for each in differences(before, {"a.1|1m": "z", "a.1|1h": "x", "c.1|1m": "y"})
    ] == [
        "a.1|1m would count something else",
        "b.1|1m would be removed",
        "c.1|1m would be added",
    ]


@pytest.mark.parametrize(
    ("before", "after", "is_refused"),
    [
        ("x@1000", "x@1001", True),
        ("x@9000", "x@10000", True),
        ("x@1000", "x@ever", True),
        ("x@1001", "x@1000", False),
        ("x@ever", "x@1000", False),
        ("x@ever", "x@ever", False),
        ("x", "x@1000", False),  # recorded before keep was
        ("x", "y@1000", True),
    ],
)
def test_what_is_kept_longer_under_one_generation_differs(
    before: str, after: str, *, is_refused: bool
) -> None:
    """What expired as it was written would be founded anew by a late event, and look whole."""
    assert bool(differences({"a.1|1m": before}, {"a.1|1m": after})) is is_refused


def test_a_longer_keep_is_named() -> None:
    kept = SOURCES + SUMS.replace('consumer = "main"', "")
    definition = definition_of(defined(kept), "main")
    shorter = {name: f"{each.partition('@')[0]}@1000" for name, each in definition.items()}
    assert [each.partition(":")[0] for each in differences(shorter, definition)] == [
        f"{name} would be kept longer" for name in sorted(definition)
    ]
