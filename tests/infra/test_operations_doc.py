"""The runbook has a section for each alarm, and says only what exists; the page of variables has all of them."""

import re
import shlex
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore import xform_name

from infra.commands import configuration
from infra.commands.main import build_parser
from infra.template.monitoring import ALARMS, RUNBOOK
from processors.live.live_settings import LiveSettings
from processors.live.settings import Settings as HttpSettings
from producers.collector.settings import Settings as CollectorSettings
from support.paths import ROOT

PAGE = ROOT / RUNBOOK
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
SPANS = re.findall(r"(?<!`)`([^`\n]+)`", re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL))

# Commands of the AWS CLI that are its own, and not operations of a service.
OWN = {("logs", "tail"), ("s3", "ls"), ("s3", "cp"), ("dynamodb", "wait")}
GENERAL = {"query", "output", "region", "endpoint-url", "cli-input-json"}
LISTED = {"since", "format", "follow", "filter-pattern", "recursive", "table-name"}  # options of OWN


def slug(heading: str) -> str:
    """Return the anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def headings(level: int) -> list[str]:
    return re.findall(rf"^{'#' * level} (.+)$", re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL), re.MULTILINE)


def sections(between: tuple[str, str]) -> dict[str, str]:
    """Return the text of each section of level two between two headings of level one."""
    part = TEXT.split(f"\n# {between[0]}\n")[1].split(f"\n# {between[1]}\n")[0]
    names = re.findall(r"^## (.+)$", part, re.MULTILINE)
    return dict(zip(names, re.split(r"^## .+$", part, flags=re.MULTILINE)[1:], strict=True))


def commands(program: str) -> Iterator[str]:
    """Yield each call of *program* on the page, in blocks, in substitutions and in running text."""
    for block in BLOCKS:
        for line in block.splitlines():
            for found in re.finditer(rf"(?:^|\$\(|\| |while M=\$\(|do ){program} ", line):
                rest = line[found.end() - len(program) - 1 :]
                yield re.split(r" \| | > |\) (?:TABLE|QUEUE|&&)|; (?:done|do|\})|\)$| && ", rest)[0]
    for span in SPANS:
        inside = re.search(rf"(?:^|&& ){program} [a-z]", span)
        if inside:
            yield span[inside.start() :].removeprefix("&& ")


def words(command: str) -> list[str]:
    """Return the words of a command as a shell would; what it substitutes stands for a word."""
    depth = re.sub(r"\$\([^()]*(?:\([^()]*\)[^()]*)*\)", "X", command)
    return shlex.split(depth.replace('"$', '"').replace("$", ""))


def test_every_alarm_has_a_section_and_every_section_an_alarm() -> None:
    assert list(sections(("Alarms", "Tasks"))) == [each.name for each in ALARMS]


@pytest.mark.parametrize("name", [each.name for each in ALARMS])
def test_a_section_says_what_it_means_and_what_to_do(name: str) -> None:
    text = sections(("Alarms", "Tasks"))[name]
    assert text.strip().startswith("**Means.**")
    assert "**Do.**" in text


def test_every_link_leads_somewhere() -> None:
    anchors = {slug(each) for level in (1, 2) for each in headings(level)}
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        path, _, anchor = target.partition("#")
        if path:
            other = PAGE.parent / path
            assert other.exists(), target
            titles = re.findall(r"^#+ (.+)$", other.read_text(encoding="utf-8"), re.MULTILINE)
            assert not anchor or anchor in {slug(each) for each in titles}, target
        else:
            assert anchor in anchors, target


def test_the_alarms_own_links_lead_to_their_sections() -> None:
    anchors = {f"{RUNBOOK}#{slug(each)}" for each in headings(2)}
    assert {each.runbook for each in ALARMS} <= anchors


def test_every_command_of_ours_exists_with_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    found = sorted(set(commands("streamgage")))
    assert len(found) > 15
    for command in found:
        arguments = words(re.sub(r" [&|].*", "", command))[1:]
        try:
            build_parser().parse_args(arguments if arguments != ["plan"] else [*arguments, *PLAN])
        except SystemExit:
            pytest.fail(f"{command}\n{capsys.readouterr().err}")


PLAN = ("--events-per-s", "1", "--devices", "1")  # in running text the command stands for itself


@cache
def operations(service: str) -> dict[str, Any]:
    model = botocore.session.get_session().get_service_model(
        "codedeploy" if service == "deploy" else api(service)
    )
    return {xform_name(each, "-"): model.operation_model(each) for each in model.operation_names}


def api(service: str) -> str:
    return {"s3api": "s3"}.get(service, service)


def test_every_command_of_aws_exists_with_its_options() -> None:
    found = sorted(set(commands("aws")))
    assert len(found) > 30
    for command in found:
        parts = words(command)
        if len(parts) < 3:
            continue  # `aws --endpoint-url`, `aws sso login`
        options = {each[2:] for each in parts if each.startswith("--")} - GENERAL
        if (parts[1], parts[2]) in OWN:
            assert options <= LISTED, command
            continue
        known = operations(parts[1])
        assert parts[2] in known, command
        shape = known[parts[2]].input_shape
        members = shape.members if shape else {}
        names = {xform_name(each, "-") for each in members}
        names |= {f"no-{xform_name(each, '-')}" for each, of in members.items() if of.type_name == "boolean"}
        assert options <= names, f"{command}: {options - names}"
        required = {xform_name(each, "-") for each in (shape.required_members if shape else ())}
        assert required <= options or "--cli-input-json" in parts, f"{command}: {required - options} missing"


def test_the_page_of_variables_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert configuration.main([]) == 0, capsys.readouterr().out


def test_the_page_of_variables_has_each_that_is_read() -> None:
    assert set(configuration.OF_FUNCTION) == set(configuration.settings_read())
    http = configuration.settings_read(HttpSettings.of)
    assert set(configuration.OF_HTTP) == set(http)
    told = {name: default.strip("`") for name, (default, _) in configuration.OF_HTTP.items()}
    assert {name: http[name] or told[name] for name in http} == told
    answers = configuration.settings_read(partial(LiveSettings.of, pushes=False))
    assert set(configuration.OF_LIVE) == {*answers, *configuration.settings_read(LiveSettings.of)}
    assert set(configuration.OF_COLLECTOR) == set(configuration.settings_read(CollectorSettings.of))
    known = configuration.keys_known()
    assert {table: set(keys) for table, keys in configuration.OF_PIPELINE.items()} == {
        table: keys for table, keys in known.items() if table
    }
    assert known[""] == {"sources", "rollups", "deploy", "mqtt"}
    mentioned = {
        name
        for folder in ("streamgage", "processors", "producers", "infra")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".yaml") and path.is_file()
        for name in re.findall(r"STREAMGAGE_[A-Z_]*[A-Z]", path.read_text(encoding="utf-8"))
    }
    of_collector = {name for name in configuration.OF_COLLECTOR if name.startswith("STREAMGAGE_")}
    of_http = configuration.OF_HTTP.keys() - {"QUARANTINE_QUEUE_URL", "CONNECTIONS_TABLE"}
    assert mentioned == {*configuration.OF_FUNCTION, *of_http, *of_collector, *configuration.OF_COMMANDS}


def test_a_page_that_is_not_up_to_date_is_told_and_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(configuration, "PAGE", tmp_path / "configuration.md")
    assert configuration.main([]) == 1
    assert "not up to date" in capsys.readouterr().out
    assert configuration.main(["--write"]) == 0
    assert configuration.main([]) == 0
