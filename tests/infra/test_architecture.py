"""docs/architecture.md shows the rooms that there are, in pictures as its script draws them."""

import re
import runpy
from pathlib import Path

import pytest

from support.paths import ROOT

PICTURES = ROOT / "docs" / "architecture"
OUTER = ("streamgage", "producers", "processors", "infra", "benchmarks")


def folders(room: Path) -> set[str]:
    """Return the packages in *room*."""
    return {each.parent.name for each in room.glob("*/__init__.py")}


def test_the_rooms_in_the_picture_are_those_that_there_are() -> None:
    shown = set(re.findall(r">(\w+)/<", (PICTURES / "rooms.svg").read_text(encoding="utf-8")))
    inner = {each for room in OUTER if room != "benchmarks" for each in folders(ROOT / room)}
    assert shown == set(OUTER) | inner


@pytest.mark.parametrize("name", ["rooms", "way"])
def test_a_picture_is_as_its_script_draws_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "draw.py").write_text((PICTURES / "draw.py").read_text(encoding="utf-8"), encoding="utf-8")
    runpy.run_path(str(tmp_path / "draw.py"), run_name="__main__")
    assert (tmp_path / f"{name}.svg").read_bytes() == (PICTURES / f"{name}.svg").read_bytes()


def test_each_place_that_the_way_names_exists() -> None:
    named = re.findall(r">((?:\w+/)\w+)(?:, (\w+))?<", (PICTURES / "way.svg").read_text(encoding="utf-8"))
    assert len(named) >= 7
    for path, beside in named:
        assert (ROOT / path).is_dir(), path
        assert not beside or ((ROOT / path).parent / beside).is_dir(), beside


def test_the_table_of_the_readme_names_every_room() -> None:
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Find your way")[2]
    for room in OUTER:
        assert f"`{room}/`" in table
