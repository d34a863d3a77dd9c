"""What the encoders of the agents write today is what tests/golden holds of them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from streamgage.formats.agents.inflate import inflated, is_compressed
from support.agents import agent_records
from support.paths import ROOT

_BUILD_S = 600


@pytest.mark.skipif(shutil.which("go") is None, reason="needs Go")
def test_the_encoders_of_the_agents_write_the_golden_records(tmp_path: Path) -> None:
    folder = ROOT / "tests" / "interop" / "agents"
    environment = {**os.environ, "GOFLAGS": "-mod=readonly -buildvcs=false"}
    program = str(tmp_path / "agents")
    built = subprocess.run(
        ["go", "build", "-o", program, "."],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_BUILD_S,
        check=False,
    )
    if "dial tcp" in built.stderr or "403 Forbidden" in built.stderr:
        pytest.skip("the modules are not here, and cannot be fetched")
    assert built.returncode == 0, built.stderr
    written = subprocess.run([program], capture_output=True, text=True, timeout=60, check=True).stdout
    assert {name: _plain(data) for name, data in agent_records(written).items()} == {
        name: _plain(data) for name, data in agent_records().items()
    }


def _plain(data: bytes) -> bytes:
    """Return *data* inflated: how it is deflated is Go's affair."""
    return inflated(data) if is_compressed(data) else data
