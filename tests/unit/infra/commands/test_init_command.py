"""``streamgage init``: what it writes, and that it overwrites nothing."""

import tomllib
from pathlib import Path

import pytest

from infra.commands.main import main
from processors.pipeline_files import load_pipeline


def test_what_it_writes_is_a_pipeline_that_loads_with_a_device_in_ten_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "some" / "where"
    assert main(["init", str(folder)]) == 0
    assert sorted(str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()) == [
        "README.md", "device.py", "pipeline.toml", "schemas/reading.avsc",
    ]  # fmt: skip
    assert "pipeline.toml" in capsys.readouterr().out
    assert set(load_pipeline(folder / "pipeline.toml").rollups) == {"device_metrics"}
    code = (folder / "device.py").read_text().partition("\n\n")[2].splitlines()
    assert len([line for line in code if line.strip() and "import" not in line]) <= 10
    assert tomllib.loads((folder / "pipeline.toml").read_text())["sources"][0]["name"] == "reading"


def test_a_folder_that_holds_something_is_left_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert main(["init", str(tmp_path)]) == 2
    assert "not empty: there is 'notes.txt'" in capsys.readouterr().err
    assert [each.name for each in tmp_path.iterdir()] == ["notes.txt"]
    assert main(["init", str(tmp_path / "notes.txt")]) == 2


def test_an_empty_folder_or_one_of_git_alone_is_taken(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    assert main(["init", str(tmp_path)]) == 0
    assert (tmp_path / "pipeline.toml").is_file()
    assert main(["init", str(tmp_path)]) == 2
