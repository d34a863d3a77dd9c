"""Whatever `make` and the workflows install comes by the hashes of a lock: a registry cannot hand us something else."""

import json
import re
from pathlib import Path

import pytest

from support.paths import ROOT

SCRIPTS = [ROOT / "Makefile", *sorted((ROOT / ".github" / "workflows").glob("*.yml"))]
OUR_OWN = re.compile(r"--no-deps --no-build-isolation -e \.$")


def installs(text: str) -> list[str]:
    return [
        line.strip() for line in text.splitlines() if re.search(r"\b(pip3?|uv) install\b|\bpip wheel\b", line)
    ]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda each: each.name)
def test_pip_installs_by_hash(script: Path) -> None:
    for line in installs(script.read_text(encoding="utf-8")):
        assert "--require-hashes -r requirements/" in line or OUR_OWN.search(line), line


def test_npm_installs_what_its_lock_says() -> None:
    for path in [*SCRIPTS, *(ROOT / "tests").rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        if path == Path(__file__):
            continue
        assert not re.search(r"npm install(?! --package-lock-only)|npm, \"install\"", text), path


@pytest.mark.parametrize("folder", ["browser", "emulators", "javascript"])
def test_each_package_of_npm_has_its_hash(folder: str) -> None:
    lock = json.loads((ROOT / "requirements" / folder / "package-lock.json").read_text(encoding="utf-8"))
    wanted = json.loads((ROOT / "requirements" / folder / "package.json").read_text(encoding="utf-8"))
    assert lock["packages"][""]["dependencies"] == wanted["dependencies"]
    for name, package in lock["packages"].items():
        assert not name or package["integrity"].startswith("sha512-"), name


def test_make_lock_writes_every_lock() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for lock in (ROOT / "requirements").glob("*.lock"):
        assert f"-o requirements/{lock.name}" in makefile
        assert "--hash=sha256:" in lock.read_text(encoding="utf-8")


def test_each_lock_that_is_installed_is_one_that_there_is() -> None:
    for script in SCRIPTS:
        for name in re.findall(r"-r (requirements/\S+)", script.read_text(encoding="utf-8")):
            assert (ROOT / name).is_file(), name
