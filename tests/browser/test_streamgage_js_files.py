"""The files of streamgage.js, without a browser: light, made from what stands beside them, and allowed by a strict policy."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support.paths import ROOT

BROWSER = ROOT / "producers" / "browser"
DIST = BROWSER / "dist" / "streamgage.min.js"
MODULES = Path.home() / ".cache" / "streamgage" / "browser"  # of `make browser`
MOST_BYTES = 1_536


def test_it_is_light_as_gzip_packs_it() -> None:
    """The page says so, and how to see it."""
    page = (ROOT / "docs" / "browser.md").read_text(encoding="utf-8")
    ((line, most),) = re.findall(r"```sh\n(gzip .*?) +# ≤ ([0-9,]+)\n```", page)
    told = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, check=True).stdout
    assert int(most.replace(",", "")) == MOST_BYTES
    assert 0 < int(told) <= MOST_BYTES


def test_a_strict_policy_allows_it_and_it_fetches_nothing_of_its_own() -> None:
    for path in (BROWSER / "src" / "streamgage.js", DIST):
        text = path.read_text(encoding="utf-8")
        code = re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE)
        assert not re.search(r"\beval\(|new Function|innerHTML|document\.write|\bimport\b|cookie", code), path
        assert not re.search(r"https?://", code), path


def test_what_is_served_was_made_from_the_source(tmp_path: Path) -> None:
    wanted = json.loads((ROOT / "requirements/browser/package.json").read_text(encoding="utf-8"))[
        "dependencies"
    ]["terser"]
    there = MODULES / "node_modules" / "terser" / "package.json"
    if shutil.which("node") is None or not there.exists():
        pytest.skip("no node, or no terser: say `make browser`")
    if json.loads(there.read_text(encoding="utf-8"))["version"] != wanted:
        pytest.skip(f"terser is not {wanted}: say `make browser`")
    subprocess.run(["node", str(BROWSER / "build.mjs"), str(MODULES), str(tmp_path)], check=True)
    for made in tmp_path.iterdir():
        assert made.read_bytes() == (DIST.parent / made.name).read_bytes(), f"{made.name}: say `make browser`"
    assert {each.name for each in tmp_path.iterdir()} == {each.name for each in DIST.parent.iterdir()}
