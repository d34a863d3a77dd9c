"""``Producer.to_local`` finds the stack that runs here, and what it sends is counted."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.machine import running
from support.paths import ROOT

PROGRAM = next(
    each
    for each in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "sending.md").read_text(encoding="utf-8"), re.DOTALL)
    if "to_local" in each
)  # fmt: skip


@pytest.mark.local
def test_the_program_of_the_guide_for_the_stack_in_this_folder_is_counted(tmp_path: Path) -> None:
    with running(tmp_path) as machine:
        done = subprocess.run(
            [sys.executable, "-P", "-c", PROGRAM],
            cwd=machine.folder,
            env={**os.environ, "STREAMGAGE_HOME": str(machine.home.root)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        machine.run("drain")
        rows = machine.query("device_metrics", "device_id=d1", "metric=temperature", "--window", "1h")
        assert [row["value.count"] for row in rows] == [1]
