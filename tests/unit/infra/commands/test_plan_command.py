"""``streamgage plan`` as a person uses it."""

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.commands import plan as plan_command
from streamgage.errors import ConfigError
from support.paths import ROOT

REFERENCE = ("--events-per-s", "30000", "--devices", "10000")
DEFINITION = ("--pipeline", str(ROOT / "pipeline.toml"))


def plan(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    plan_command.add_parser(parser.add_subparsers())
    parsed = parser.parse_args(["plan", *arguments])
    code: int = parsed.run(parsed)
    return code


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert plan(*REFERENCE, "--format", "json", *arguments) == 0
    return json.loads(capsys.readouterr().out)


def test_it_says_what_to_deploy_and_what_it_costs(capsys: pytest.CaptureFixture[str]) -> None:
    assert plan(*REFERENCE, "--shards", "12", "--batching-window-s", "30") == 0
    said = capsys.readouterr().out
    assert (
        "ShardCount=12 BatchSize=10000 BatchingWindow=30 ParallelizationFactor=1 MemorySize=512 Timeout=60"
        in said
    )
    assert "DynamoDB: writes" in said
    assert "unconfirmed: kinesis_on_demand_out" in said
    assert max(map(len, said.splitlines())) <= 110


def test_it_says_what_questions_cost_beside_what_counting_does(capsys: pytest.CaptureFixture[str]) -> None:
    fixed = ("--shards", "12", "--batching-window-s", "30")
    without = as_json(capsys, *fixed)
    asked = as_json(capsys, *fixed, "--questions-per-s", "2", "--question-units", "4")
    questions = asked.pop("questions")
    assert questions["read_units_per_s"] == 8
    assert sum(questions["usd_per_month"].values()) == pytest.approx(2 * questions["usd_per_month"]["total"])
    assert without.pop("questions")["usd_per_month"] == {"total": 0}
    assert without == asked
    assert plan(*REFERENCE, *fixed, "--questions-per-s", "2") == 0
    said = capsys.readouterr().out
    assert "questions over HTTP: 2/s, each 229 read units" in said
    assert max(map(len, said.splitlines())) <= 110
    assert plan(*REFERENCE, *fixed) == 0
    assert "questions" not in capsys.readouterr().out


def test_its_parameters_are_those_of_the_template(capsys: pytest.CaptureFixture[str]) -> None:
    template = (ROOT / "infra/template/template.yaml").read_text(encoding="utf-8")
    for name in as_json(capsys)["parameters"]:
        assert f"\n  {name}:\n    Type: Number" in template


def test_json_adds_up(capsys: pytest.CaptureFixture[str]) -> None:
    made = as_json(capsys, "--blocks")
    for mode in ("provisioned", "on_demand"):
        lines = made["usd_per_month"][mode]
        total = lines.pop("total")
        assert sum(lines.values()) == pytest.approx(total)
        assert made["usd_per_million_events"][mode] == pytest.approx(total / (30_000 * 730 * 3600) * 1e6)


def test_a_definition_gives_windows_and_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    one = as_json(capsys, "--shards", "12", "--batching-window-s", "30")
    three = as_json(capsys, "--shards", "12", "--batching-window-s", "30", *DEFINITION, "--source", "reading")
    ratio = three["write_units_per_million_events"] / one["write_units_per_million_events"]
    # An hour and a day more; the definition's sample weighs a little more than the reference load's items.
    assert ratio == pytest.approx(3.5 / 1.5, rel=0.2)
    clicks = as_json(capsys, *DEFINITION, "--source", "click", "--keys", "page_views=500")
    assert clicks["write_units_per_s"] > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--devices", "0"), "--devices and --metrics are at least 1"),
        (("--windows", "1x"), "--windows 1x"),
        (("--windows", "0m"), "longer than 0"),
        (("--source", "reading"), "give --pipeline too"),
        ((*DEFINITION,), "several sources; say which with --source: reading, click"),
        ((*DEFINITION, "--source", "readings"), "no source 'readings': reading, click"),
        ((*DEFINITION, "--source", "click"), "--keys page_views=N"),
        ((*DEFINITION, "--source", "click", "--keys", "page_views"), "write ROLLUP=NUMBER"),
        ((*DEFINITION, "--source", "click", "--keys", "page_views=0"), "at least 1"),
        ((*DEFINITION, "--source", "reading", "--keys", "visits=3"), "has no such rollup"),
        ((*DEFINITION, "--source", "reading", "--groups", "visits=3"), "whose keys stand together"),
        ((*DEFINITION, "--source", "reading", "--groups", "device_metrics"), "write ROLLUP=NUMBER"),
        (("--groups", "device_metrics=3"), "give --pipeline too"),
        ((*DEFINITION, "--source", "reading", "--windows", "1m"), "stand in the definition"),
        (("--pipeline", "nowhere.toml"), "nowhere.toml"),
        (("--blocks", "--no-aggregation"), "contradict"),
        (("--plot", "cost.gif"), "ends in .svg or .png"),
        (("--plot", "no/such/folder/cost.svg"), "no/such/folder"),
    ],
)
def test_a_mistake_is_named(arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(*REFERENCE, *arguments)
    assert said in "\n".join(caught.value.problems)


def test_the_plot_is_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert plan(*REFERENCE, "--blocks", "--plot", str(tmp_path / "cost.svg")) == 0
    picture = (tmp_path / "cost.svg").read_text(encoding="utf-8")
    assert "<svg" in picture
    assert str(tmp_path / "cost.svg") in capsys.readouterr().err


def test_without_matplotlib_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ConfigError, match="bench"):
        plan(*REFERENCE, "--plot", str(tmp_path / "cost.svg"))


def definition_with(folder: Path, together: str) -> Path:
    """Return the repository's definition, whose readings stand together."""
    shutil.copytree(ROOT / "schemas", folder / "schemas")
    text = (ROOT / "pipeline.toml").read_text(encoding="utf-8")
    key = 'key = ["device_id", "metric"]'
    assert text.count(key) == 1
    (folder / "pipeline.toml").write_text(
        text.replace(key, f'{key}\ntogether = ["{together}"]'), encoding="utf-8"
    )
    return folder / "pipeline.toml"


def test_what_it_costs_that_keys_stand_together_is_said_beside_the_same_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = definition_with(tmp_path, "device_id")
    ours = ("--pipeline", str(path), "--source", "reading", "--shards", "12", "--batching-window-s", "30")
    planned = as_json(capsys, *ours, "--metrics", "8")
    (beside,) = planned["together"]
    assert (beside["rollup"], beside["fields"], beside["keys"]) == ("device_metrics", ["device_id"], 8)
    together, apart = beside["together"], beside["apart"]
    assert 1 < together["write_units_per_s"] / apart["write_units_per_s"] < 1.4
    assert 2 <= together["read_items"] < 4
    assert apart["read_items"] > 50
    without = as_json(capsys, *DEFINITION, *ours[2:], "--metrics", "8")
    assert without["together"] == []
    difference = together["write_units_per_s"] - apart["write_units_per_s"]
    assert planned["write_units_per_s"] - without["write_units_per_s"] == pytest.approx(difference, rel=0.01)

    assert plan(*REFERENCE, *ours, "--metrics", "8") == 0
    said = capsys.readouterr().out
    assert "device_metrics: 8 keys of one device_id together, beside each by itself" in said
    assert "a question     about one device_id reads 2." in said


def test_of_groups_that_are_not_partition_keys_it_has_to_be_said_how_many_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = ("--pipeline", str(definition_with(tmp_path, "metric")), "--source", "reading")
    with pytest.raises(ConfigError, match="--groups device_metrics=N"):
        plan(*REFERENCE, *ours)
    with pytest.raises(ConfigError, match="at least 1"):
        plan(*REFERENCE, *ours, "--groups", "device_metrics=0")
    (beside,) = as_json(capsys, *ours, "--groups", "device_metrics=100", "--shards", "4")["together"]
    assert beside["keys"] == 10_000 * 3 / 4 / 100
