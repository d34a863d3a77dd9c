"""Files that mean to hurt who reads them: ``check`` and ``lint`` end soon, with one sentence, and hold little."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.commands.main import main
from infra.template.bounds import within
from infra.template.lint.resolve import resolved
from streamgage.errors import ConfigError
from support.paths import ROOT

PIPELINE = (ROOT / "pipeline.toml").read_text(encoding="utf-8")
OF_NO_AGENTS = re.sub(
    r"\[\[sources\.from\]\].*\n(?:.+\n)+", "", PIPELINE
)  # whose mappings would miss a field
SCHEMA = (ROOT / "schemas" / "reading.avsc").read_text(encoding="utf-8")
ENDS_WITHIN_S = 100  # not how long it takes, a second or two, but what "never" would be
MEMORY_BYTES = 3 * 1024**3  # of addresses, most of it never touched


def streamgage(*arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))

    return subprocess.run(
        [sys.executable, "-P", "-m", "infra.commands.main", *arguments],
        cwd=folder, capture_output=True, text=True, timeout=ENDS_WITHIN_S, check=False, preexec_fn=limited,
    )  # fmt: skip


def refusal(*arguments: str, folder: Path) -> str:
    """Return the one sentence in which a command refuses."""
    done = streamgage(*arguments, folder=folder)
    assert "Traceback" not in done.stderr, done.stderr[-2_000:]
    assert done.returncode == 2, (done.stdout[-500:], done.stderr[-500:])
    assert done.stderr.startswith("streamgage: ")
    assert len(done.stderr) < 25_000
    return done.stderr


def text(content: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(content, encoding="utf-8")


def raw(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2 * 1024**3)


NO_TEXTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a device without end": (lambda path: path.symlink_to("/dev/zero"), "not a plain file"),
    "a pipe": (os.mkfifo, "not a plain file"),
    "a folder": (lambda path: path.mkdir(), "directory"),
    "two gigabytes": (huge, "larger than"),
    "NUL bytes": (raw(b"\0" * 1000), ""),
    "not UTF-8": (raw(b"\xff\xfe\x00a"), ""),
    "a loop of links": (lambda path: path.symlink_to(path), "cannot be read"),
    "nothing": (raw(b""), ""),
}


@pytest.mark.parametrize("name", NO_TEXTS)
@pytest.mark.parametrize("role", ["definition", "schema", "template"])
def test_what_is_no_text_is_refused(name: str, role: str, tmp_path: Path) -> None:
    make, said = NO_TEXTS[name]
    (tmp_path / "schemas").mkdir()
    for each in ("reading.avsc", "click.avsc"):
        (tmp_path / "schemas" / each).write_bytes((ROOT / "schemas" / each).read_bytes())
    (tmp_path / "pipeline.toml").write_text(PIPELINE)
    path = {"definition": "pipeline.toml", "schema": "schemas/reading.avsc", "template": "t.yaml"}[role]
    (tmp_path / path).unlink(missing_ok=True)
    make(tmp_path / path)
    told = refusal(*(("lint", "t.yaml") if role == "template" else ("check",)), folder=tmp_path)
    assert said in told


def nested(levels: int, opening: str, closing: str, core: str = "1") -> str:
    return opening * levels + core + closing * levels


DEFINITIONS = {
    "arrays 5,000 deep": PIPELINE + "\n[deploy]\nx = " + nested(5_000, "[", "]"),
    "tables 5,000 deep": PIPELINE + "\n[deploy]\nx = " + nested(5_000, "{a=", "}"),
    "arrays 300 deep": PIPELINE + "\n[deploy]\nx = " + nested(300, "[", "]"),
    "a key of 5,000 dots": "a." * 5_000 + "a = 1",
    "a number of 100,000 digits": "x = " + "9" * 100_000,
    "a name that looks for its like": PIPELINE.replace('"device_id"', '"' + "device_id" * 100_000 + '"'),
    "a thousand unknown keys": PIPELINE.replace(
        'name = "reading"', 'name = "reading"\n' + "".join(f"{'k' * 90}{n} = 1\n" for n in range(1_000))
    ),
    "quotes without end": 'x = """' + '"\\' * 400_000,
    "a schema by a pipe's name": PIPELINE.replace("schemas/reading.avsc", "/dev/stdin\\u0000"),
}


@pytest.mark.parametrize("name", DEFINITIONS)
def test_a_hostile_definition_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "schemas").symlink_to(ROOT / "schemas")
    (tmp_path / "pipeline.toml").write_text(DEFINITIONS[name])
    told = refusal("check", folder=tmp_path)
    assert max(map(len, told.splitlines())) < 5_000


def of_type(kind: object) -> str:
    value = json.loads(SCHEMA)
    value["fields"].append({"name": "x", "type": kind})
    return json.dumps(value)


def records(levels: int) -> object:
    """Return records that each hold the next one twice: 2**levels of them, where they are unfolded."""
    kind: object = "long"
    for level in range(levels):
        fields = [{"name": "a", "type": kind}, {"name": "b", "type": f"R{level - 1}" if level else "long"}]
        kind = {"type": "record", "name": f"R{level}", "fields": fields}
    return kind


SCHEMAS = {
    "arrays 5,000 deep": SCHEMA.replace('"double"', nested(5_000, '{"type":"array","items":', "}", '"long"')),
    "lists 5,000 deep": SCHEMA.replace('"double"', nested(5_000, "[", "]", '"long"')),
    "objects 100,000 deep": nested(100_000, '{"a":', "}"),
    "a record in itself": of_type(
        {"type": "record", "name": "S", "fields": [{"name": "s", "type": ["null", "S"]}]}
    ),
    "an array of nothing": of_type({"type": "array", "items": "null"}),
    "a fixed of no size": of_type({"type": "fixed", "name": "F", "size": -1}),
    "a number of 100,000 digits": SCHEMA.replace('"double"', "9" * 100_000),
    "a text of a megabyte": SCHEMA.replace('"double"', '"' + "é" * 300_000 + '"'),
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_hostile_schema_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "reading.avsc").write_text(SCHEMAS[name])
    (tmp_path / "schemas" / "click.avsc").write_bytes((ROOT / "schemas" / "click.avsc").read_bytes())
    (tmp_path / "pipeline.toml").write_text(OF_NO_AGENTS)
    assert "reading.avsc" in refusal("check", folder=tmp_path)


def test_records_that_would_unfold_to_a_thousand_million_are_read_as_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "reading.avsc").write_text(of_type(records(30)))
    (tmp_path / "schemas" / "click.avsc").write_bytes((ROOT / "schemas" / "click.avsc").read_bytes())
    (tmp_path / "pipeline.toml").write_text(OF_NO_AGENTS)
    assert streamgage("check", folder=tmp_path).returncode == 0


LAUGHS = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10) if n else 'x'}]\n" for n in range(10))
MERGED = "".join(
    f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 10)}], k{n}: 1}}\n" if n else "m0: &m0 {a: 1}\n"
    for n in range(9)
)
TOPIC = "Resources: {T: {Type: AWS::SNS::Topic%s}}\n"
TEMPLATES = {
    "a billion laughs": (LAUGHS + TOPIC % "", "unfolds"),
    "a billion merges": (MERGED + TOPIC % "", "unfolds"),
    "an alias of itself": (f"a: &a [*a]\n{TOPIC % ''}", "stands in"),
    "lists 200,000 deep": (f"a: {nested(200_000, '[', ']')}\n{TOPIC % ''}", "deep"),  # more than C's stack holds
    "lists 5,000 deep": (f"a: {nested(5_000, '[', ']')}\n{TOPIC % ''}", "deep"),
    "lists 200 deep": (f"a: {nested(200, '[', ']')}\n{TOPIC % ''}", "deep"),
    "maps 5,000 deep": (f"a: {nested(5_000, '{a: ', '}')}\n{TOPIC % ''}", "deep"),
    "JSON 5,000 deep": ('{"Resources": ' + nested(5_000, '{"a":', "}") + "}", "deep"),
    "a condition of itself": (
        "Conditions: {C: {Fn::Not: [{Condition: D}]}, D: {Fn::Not: [{Condition: C}]}}\n"
        + TOPIC % ", Condition: C",
        "itself",
    ),
    "a number of 100,000 digits": (f"a: {'9' * 100_000}\n{TOPIC % ''}", ""),
    "tags that make things": (f"a: !!python/object/apply:os.system [id]\n{TOPIC % ''}", ""),
    "an intrinsic without arguments": (TOPIC % ", Properties: {DisplayName: {Fn::Select: []}}", ""),
    "a resource that is a number": ("Resources: {T: 7}\n", ""),
    "a resource without a type": ("Resources: {T: {}}\n", ""),
    "parameters that are a list": ("Parameters: [1]\n" + TOPIC % "", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_hostile_template_is_refused(name: str, tmp_path: Path) -> None:
    content, said = TEMPLATES[name]
    (tmp_path / "t.yaml").write_text(content)
    told = refusal("lint", "t.yaml", "--pipeline", str(ROOT / "pipeline.toml"), folder=tmp_path)
    assert said in told


BACKTRACKS = f"""
Parameters:
  P: {{Type: String, AllowedPattern: '^(a+)+$', Default: {"a" * 60}!}}
Resources: {{T: {{Type: AWS::SNS::Topic, Properties: {{DisplayName: !Ref P}}}}}}
"""


def test_a_pattern_that_backtracks_ends_with_the_time_that_a_template_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(BACKTRACKS)
    monkeypatch.setattr("infra.template.bounds.LINT_S", 6.0)
    assert main(["lint", str(path), "--pipeline", str(ROOT / "pipeline.toml")]) == 2
    assert "takes longer than 6 s" in capsys.readouterr().err


def test_what_takes_too_long_is_ended_even_where_every_error_is_caught() -> None:
    def caught() -> None:
        try:
            re.fullmatch(r"(a+)+$", "a" * 60 + "!")
        except Exception as error:
            raise AssertionError from error

    with pytest.raises(ConfigError, match=r"takes longer than 0\.2 s"), within(0.2, "it"):
        caught()
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL


def test_names_without_end_in_a_text_cost_their_length_not_its_square() -> None:
    found = resolved({"Resources": {"T": {"V": {"Fn::Sub": "${" * 100_000}}}}, parameters={})
    assert found["T"]["V"] == "${" * 100_000


def test_conditions_that_stand_on_one_another_are_asked_once_each() -> None:
    conditions: dict[str, object] = {
        f"C{n}": {"Fn::And": [{"Condition": f"C{n - 1}"}] * 2} for n in range(1, 60)
    }
    conditions["C0"] = {"Fn::Equals": ["a", "a"]}
    assert resolved({"Conditions": conditions, "Resources": {"T": {"Condition": "C59"}}}, parameters={})
