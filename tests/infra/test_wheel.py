"""What ships: the wheel holds the rooms and their data, and nothing of what judges them."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from support.paths import ROOT
from support.wheel import ROOMS, build_wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel."""
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def names(wheel: Path) -> frozenset[str]:
    """The files of the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return frozenset(archive.namelist())


def test_the_wheel_holds_the_rooms_and_nothing_of_what_judges_them(names: frozenset[str]) -> None:
    tops = {name.partition("/")[0] for name in names}
    assert {each for each in tops if not each.endswith(".dist-info")} == set(ROOMS)
    assert not [each for each in names if "simulation" in each or "/support/" in each or "policies" in each]


def test_every_module_and_data_file_that_the_code_opens_is_in_it(names: frozenset[str]) -> None:
    modules = {str(path.relative_to(ROOT)) for room in ROOMS for path in (ROOT / room).rglob("*.py")}
    assert modules - names == set()
    assert {"README.md", "device.py", "pipeline.toml", "schemas/reading.avsc"} <= {
        each.removeprefix("infra/commands/starter/") for each in names
    }
    data = {
        str(path.relative_to(ROOT))
        for room in ROOMS
        for ending in ("yaml", "toml", "avsc", "lock", "html", "css", "js", "svg")
        for path in (ROOT / room).rglob(f"*.{ending}")
    }
    assert Path("infra/template/template.yaml") in set(map(Path, data))
    assert (data | {"infra/grafana/dashboard.json"}) - names == set()


def test_what_is_deployed_can_be_made_from_an_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    """From outside of any checkout; libraries are those of this environment."""
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    shutil.copy(ROOT / "pipeline.toml", tmp_path)
    shutil.copytree(ROOT / "schemas", tmp_path / "schemas")
    code = "import infra, sys; print(infra.__file__); from infra.commands.main import main; sys.exit(main(sys.argv[1:]))"
    for arguments in (("check",), ("package",)):
        ended = subprocess.run(
            [sys.executable, "-P", "-c", code, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(installed)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.startswith(str(installed))
    assert (tmp_path / "build" / "api.zip").exists()
    with zipfile.ZipFile(tmp_path / "build" / "aggregate.zip") as archive:
        assert {"pipeline.toml", "schemas/reading.avsc", "processors/aggregate/function.py"} <= set(
            archive.namelist()
        )
