"""The workflows for GitHub: sound by actionlint, where it is at hand, and made of commands that exist."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.commands.main import build_parser
from support.paths import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
ELSEWHERE = {"tee"}  # what every runner has


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    return found


def commands(path: Path) -> list[list[str]]:
    """Return the words of each command that the steps run; a pipe is two."""
    scripts = [step["run"] for job in jobs(path).values() for step in job["steps"] if "run" in step]
    return [
        shlex.split(each) for script in scripts for line in script.splitlines() for each in line.split("|")
    ]


def problem_of(words: list[str]) -> str | None:
    """Return what is wrong with a command: each is a target of the Makefile, or one of ours that parses."""
    program, *rest = words
    if program == "make":
        unknown = {each for each in rest if "=" not in each} - set(TARGETS)
        return f"no target {unknown}" if unknown else None
    if program == ".venv/bin/streamgage":
        try:
            build_parser().parse_args(rest)
        except SystemExit:
            return f"does not parse: {rest}"
        return None
    return None if program in ELSEWHERE else f"{program} is none of ours"


def test_the_workflows_are_these() -> None:
    assert [each.stem for each in WORKFLOWS] == ["check", "deploy", "propose"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_each_command_exists(path: Path) -> None:
    found = commands(path)
    assert found
    assert [problem for words in found if (problem := problem_of(words))] == []


@pytest.mark.parametrize(
    "line", ["make PYTHON=python tests", ".venv/bin/streamgage deploy --now", "streamgage deploy", "npm test"]
)
def test_a_command_that_does_not_exist_is_seen(line: str) -> None:
    assert problem_of(shlex.split(line)) is not None


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_no_script_is_made_of_what_others_write(path: Path) -> None:
    """A title of a pull request in ``${{ }}`` of a script is run by it; environment variables are not."""
    assert [words for words in commands(path) if "${{" in " ".join(words)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_only_jobs_that_ask_aws_may_take_a_role(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        takes_role = any("configure-aws-credentials" in step.get("uses", "") for step in job["steps"])
        assert ("id-token" in job.get("permissions", {})) == takes_role


def test_production_comes_after_the_stage_with_the_same_bundle() -> None:
    found = jobs(ROOT / ".github" / "workflows" / "deploy.yml")
    assert [(name, job.get("needs"), job.get("environment")) for name, job in found.items()] == [
        ("package", None, None),
        ("stage", "package", "stage"),
        ("production", "stage", "production"),
    ]
    assert found["stage"]["steps"] == found["production"]["steps"]


def test_actionlint_has_no_word_against_them() -> None:
    actionlint = shutil.which("actionlint")
    if actionlint is None:
        pytest.skip(
            "actionlint is not on the PATH: go install github.com/rhysd/actionlint/cmd/actionlint@latest"
        )
    done = subprocess.run([actionlint, *WORKFLOWS], capture_output=True, text=True, check=False)
    assert done.stdout == ""
    assert done.returncode == 0, done.stderr
