from pathlib import Path

import pytest

from processors.pipeline_files import FilesIn, load_pipeline
from support.paths import ROOT


@pytest.mark.parametrize("name", ["reading.avsc", "schemas/reading.avsc"])
def test_older_schemas_are_those_named_after_a_schema_in_the_order_of_their_names(
    tmp_path: Path, name: str
) -> None:
    folder = (tmp_path / name).parent
    folder.mkdir(exist_ok=True)
    for each in (
        "reading.avsc",
        "reading.v2.avsc",
        "reading.v1.avsc",
        "readings.v1.avsc",
        "reading.v1.json",
        "r.avsc",
    ):
        (folder / each).write_text("{}")
    assert FilesIn(tmp_path).versions(name) == [
        name.replace("reading.avsc", f"reading.{each}.avsc") for each in ("v1", "v2")
    ]
    assert FilesIn(tmp_path).read(name) == "{}"


def test_a_definition_is_found_by_a_bare_name_in_the_current_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert load_pipeline("pipeline.toml") == load_pipeline(ROOT / "pipeline.toml")
