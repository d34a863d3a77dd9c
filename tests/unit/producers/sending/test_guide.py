"""docs/sending.md stays true: each of its programs runs here, as it stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from processors.pipeline_files import load_pipeline
from support.paths import ROOT
from support.scripted_kinesis import scripted_kinesis

GUIDE = (ROOT / "docs" / "sending.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"## ([^\n]+)\n(?:(?!\n## ).)*?```python\n(.*?)```", GUIDE, re.DOTALL)
OVER_A_STREAM = [(title, program) for title, program in PROGRAMS if "to_local" not in program]


def test_the_guide_has_its_programs() -> None:
    assert [title for title, _ in PROGRAMS] == [
        "A device",
        "The stack in this folder, or one on AWS",
        "A gateway",
        "What became of one event",
        "asyncio",
        "Nothing may be lost",
        "On SIGTERM",
    ]


def test_the_program_of_the_readme_is_one_of_the_guide() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert shown in [program for _, program in PROGRAMS]


@pytest.mark.parametrize(("title", "program"), OVER_A_STREAM, ids=[title for title, _ in OVER_A_STREAM])
def test_a_program_of_the_guide_sends_what_it_puts(title: str, program: str, tmp_path: Path) -> None:
    for name in ("pipeline.toml", "schemas"):
        (tmp_path / name).symlink_to(ROOT / name)
    assert load_pipeline(tmp_path / "pipeline.toml").sources["reading"]
    with scripted_kinesis() as (url, requests):
        done = subprocess.run(
            [sys.executable, "-P", "-W", "error", "-c", program],
            cwd=tmp_path,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                "AWS_ENDPOINT_URL_KINESIS": url,
                "AWS_ACCESS_KEY_ID": "a",
                "AWS_SECRET_ACCESS_KEY": "b",
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")
    kept = (tmp_path / "events.spool").exists()  # closing does not wait for the stream then
    assert kept or any(operation == "PutRecords" for operation, _ in requests), title
