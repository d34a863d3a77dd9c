"""README stays true: each of its commands runs here, as it stands there."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from infra.commands.main import build_parser
from support.paths import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)


def test_the_two_commands_of_a_newcomer_are_targets_of_the_makefile() -> None:
    """They are not run here, within themselves: `.ci/run` runs `make test`, tests/local runs the demo's command."""
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert [block.strip() for block in BLOCKS[:2]] == ["make demo", "make test"]
    assert {"demo", "test"} <= set(targets)


@pytest.mark.local
def test_the_commands_under_use_it_work_in_the_order_they_are_given(tmp_path: Path) -> None:
    for name in ("pipeline.toml", "schemas"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").write_text(f'PATH="{Path(sys.executable).parent}:$PATH"\n')
    # The ports are the defaults there, which this machine may have given to somebody else; and no batch waits here.
    script = BLOCKS[2].replace(
        "up --detach", "up --detach --port 0 --kinesis-port 0 --param BatchingWindow=0"
    )
    environment = {key: value for key, value in os.environ.items() if key != "STREAMGAGE_HOME"} | {
        "COLUMNS": "220"
    }
    try:
        done = subprocess.run(
            ["bash", "-euc", script],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
    finally:
        subprocess.run(
            [sys.executable, "-P", "-m", "infra.commands.main", "down"],
            cwd=tmp_path,
            env=environment,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"2026-01-01.*[│ ]2 .*41.75 .*20.5 .*21.25", done.stdout), done.stdout


@pytest.mark.local
def test_the_commands_before_a_deployment_work(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "streamgage").symlink_to(Path(sys.executable).parent / "streamgage")
    environment = os.environ | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euc", BLOCKS[3]],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 errors" in done.stdout
    assert "$ a month" in done.stdout


def test_the_commands_of_a_deployment_are_commands() -> None:
    """What they do runs in tests/local/test_deploy_ministack.py: an account is not at hand."""
    for line in BLOCKS[4].splitlines():
        program, *words = shlex.split(line)
        assert program == "streamgage"
        assert callable(build_parser().parse_args(words).run)


def test_every_file_that_is_linked_exists() -> None:
    for page in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]:
        text = re.sub(r"`[^`\n]*`", "", page.read_text(encoding="utf-8"))
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
            assert (page.parent / target).exists(), f"{page.name} links {target}"


def test_the_definition_that_is_shown_is_the_one_that_ships() -> None:
    shown = re.search(r"```toml\n(.*?)```", README, re.DOTALL)
    assert shown
    shipped = re.sub(r" +#.*", "", (ROOT / "pipeline.toml").read_text(encoding="utf-8"))
    for line in filter(None, shown[1].splitlines()):
        assert line in shipped
