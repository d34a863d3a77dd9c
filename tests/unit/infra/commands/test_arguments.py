"""What verbs share: pairs, the definition, and what `--help` and a device that only sends may load."""

import argparse
import subprocess
import sys

import pytest

from infra.commands.arguments import add_pipeline, collect_pairs, pairs
from infra.commands.main import VERBS, build_parser
from streamgage.errors import ConfigError
from support.paths import ROOT

NOT_OF_A_DEVICE = ("samtranslator", "ministack", "awslambdaric", "matplotlib", "hdrh", "yaml", "cfnlint")
ONLY_WHEN_ASKED = ("boto3", "botocore", "fastavro", "tomllib", *NOT_OF_A_DEVICE)


def test_pairs_keep_what_stands_behind_the_first_equals_sign() -> None:
    assert pairs(["a=b=c", "d="]) == {"a": "b=c", "d": ""}


def test_every_text_that_is_no_pair_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as refused:
        pairs(["x", "=1", "a=1"], option="--param")
    assert refused.value.problems == ("--param 'x' is not NAME=VALUE", "--param '=1' is not NAME=VALUE")


def test_a_name_given_twice_is_refused_and_neither_value_silently_wins() -> None:
    with pytest.raises(ConfigError, match="'a=2': a is given twice"):
        pairs(["a=1", "a=2"], "name=value")


def test_problems_of_several_options_are_collected() -> None:
    problems: list[str] = []
    collect_pairs(["ts="], "FIELD=COLUMN", option="--map", problems=problems, may_be_empty=False)
    collect_pairs(["x"], "FIELD=VALUE", option="--set", problems=problems)
    assert problems == ["--map 'ts=' is not FIELD=COLUMN", "--set 'x' is not FIELD=VALUE"]


def test_the_environment_names_the_definition_where_the_option_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STREAMGAGE_PIPELINE", "plant.toml")
    parser = argparse.ArgumentParser()
    add_pipeline(parser)
    assert parser.parse_args([]).pipeline == "plant.toml"
    assert parser.parse_args(["--pipeline", "other.toml"]).pipeline == "other.toml"


def test_each_verb_is_one_module_that_bears_its_name() -> None:
    (verbs,) = (each for each in build_parser()._actions if isinstance(each, argparse._SubParsersAction))
    assert [each.__name__.rpartition(".")[2] for each in VERBS] == [
        each for each in verbs.choices if each != "bench"
    ]


def run(code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_help_loads_nothing_that_takes_a_tenth_of_a_second() -> None:
    code = f"""
import sys
from infra.commands.main import VERBS, build_parser
import argparse
verbs = argparse.ArgumentParser().add_subparsers()
for verb in VERBS:
    verb.add_parser(verbs)
print(sorted(set({ONLY_WHEN_ASKED}) & set(sys.modules)))
"""
    done = run(code)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("simulate", "fleet", "--devices", "2", "--events", "20", "--dry-run"),
        ("send", "csv", "/dev/null", "--source", "reading", "--dry-run"),
    ],
)
def test_a_device_that_has_only_the_extra_that_sends_can_send(arguments: tuple[str, ...]) -> None:
    code = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {NOT_OF_A_DEVICE}:
            raise ModuleNotFoundError(f"no module {{name}}", name=name)
sys.meta_path.insert(0, Absent())
from infra.commands.main import main
code = main(sys.argv[1:])
from infra.commands.places import open_producer
import producers.client.kinesis
sys.exit(code)
"""
    done = run(code, *arguments)
    assert "no module" not in done.stderr
    assert done.returncode in (0, 2), done.stderr
    assert "Traceback" not in done.stderr
