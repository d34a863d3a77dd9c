"""The wheel that ships, built from a copy: building leaves folders in the checkout."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from support.paths import ROOT

ROOMS = ("streamgage", "producers", "processors", "infra", "benchmarks")


def build_wheel(folder: Path) -> Path:
    """Build it in *folder*, and return its path."""
    checkout = folder / "checkout"
    checkout.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout)
    for name in (*ROOMS, "tests"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(
        [
            sys.executable, "-P", "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
            "--wheel-dir", str(folder), str(checkout),
        ],
        check=True,
    )  # fmt: skip
    (made,) = folder.glob("streamgage-*.whl")
    return made


def install(wheel: Path, folder: Path) -> dict[str, str]:
    """Install *wheel* in *folder*, beside the libraries of this environment; return what to add to the environment.

    ``PATH`` there begins with a folder that holds its ``streamgage`` and this ``python``.
    """
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "installed")
    programs = folder / "bin"
    programs.mkdir()
    code = "import sys; from infra.commands.main import main; sys.exit(main())"
    for name, call in (
        ("streamgage", f'"{sys.executable}" -P -c "{code}"'),
        ("python", f'"{sys.executable}"'),
    ):
        (programs / name).write_text(f'#!/bin/sh\nexec {call} "$@"\n', encoding="utf-8")
        (programs / name).chmod(0o755)
    return {"PYTHONPATH": str(folder / "installed"), "PROGRAMS": str(programs)}
