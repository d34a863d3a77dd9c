"""``streamgage lint``: a sound template is accepted, each planted mistake refused by its own rule at its own line."""

import argparse
import builtins
import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infra.commands import lint as lint_command
from infra.template.lint import cloudformation, rules
from infra.template.lint.resolve import resolved
from infra.template.lint.rule import Finding
from infra.template.lint.run import findings
from infra.template.read import TEMPLATE
from processors.pipeline_files import load_pipeline
from streamgage.definition.pipeline import Pipeline
from streamgage.errors import ConfigError
from support.paths import ROOT
from support.template_mistakes import MISTAKES, SOUND, Mistake

DAY_MS = 86_400_000
DOCS = ROOT / "docs" / "lint.md"


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    """Ours, with one rollup, whose key holds the partition key and which is kept for 30 days."""
    ours = load_pipeline(ROOT / "pipeline.toml")
    return Pipeline(ours.sources, {"visits": replace(ours.rollups["visits"], keep_ms=30 * DAY_MS)})


def lint(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    parser = argparse.ArgumentParser()
    lint_command.add_parser(parser.add_subparsers(required=True))
    parsed = parser.parse_args(["lint", "--pipeline", str(ROOT / "pipeline.toml"), *arguments])
    code: int = parsed.run(parsed)
    out, err = capsys.readouterr()
    return code, out, err


def told(found: list[Finding]) -> list[tuple[str, int]]:
    return [(each.rule, each.line) for each in found]


def test_the_sound_template_is_accepted_by_our_rules_and_by_cfn_lint(pipeline: Pipeline) -> None:
    assert findings(SOUND, pipeline, {}) == []
    assert list(cloudformation.ask(SOUND)) == []


@pytest.mark.parametrize(
    "mistake", MISTAKES, ids=[f"{each.rule}-{number}" for number, each in enumerate(MISTAKES)]
)
def test_a_planted_mistake_is_refused_at_its_line_and_nothing_else_is(
    mistake: Mistake, pipeline: Pipeline, tmp_path: Path
) -> None:
    planted = tmp_path / "template.yaml"
    planted.write_text(mistake.planted(), encoding="utf-8")
    found = findings(planted, pipeline, mistake.given)
    assert told(found) == [(mistake.rule, mistake.line())]
    assert found[0].file == str(planted)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("MaximumRecordAgeInSeconds: 21600", "MaximumRecordAgeInSeconds: 86399"),
        ("MaximumRecordAgeInSeconds: 21600", "MaximumRecordAgeInSeconds: 900"),
        ("MaximumRetryAttempts: 10000", "MaximumRetryAttempts: 360"),
        ("MaximumRetryAttempts: 10000", "MaximumRetryAttempts: -1"),
        ('- Effect: Deny\n            Principal: "*"', '- Effect: Allow\n            Principal: "*"'),
        ("RetentionPeriodHours: 24", "RetentionPeriodHours: 713"),
        ("      Timeout: 60\n", "      Timeout: 60\n      ReservedConcurrentExecutions: 2\n"),
        ("MaximumBatchingWindowInSeconds: 5", "MaximumBatchingWindowInSeconds: 59"),
        ("DeletionPolicy: Retain\n    UpdateReplacePolicy: Retain\n    Properties:\n      Sqs", "DeletionPolicy: RetainExceptOnCreate\n    UpdateReplacePolicy: Retain\n    Properties:\n      Sqs"),
        ("SqsManagedSseEnabled: true", "KmsMasterKeyId: alias/aws/sqs"),
        ("      Timeout: 29\n", "      Timeout: 30\n"),
        ('Resource: !Sub "${Bucket.Arn}/*"', 'Resource: !Join ["", [!GetAtt Bucket.Arn, "/x"]]'),
    ],
)  # fmt: skip
def test_what_is_just_within_a_bound_is_accepted(
    old: str, new: str, pipeline: Pipeline, tmp_path: Path
) -> None:
    near = tmp_path / "template.yaml"
    near.write_text(Mistake("", old, new).planted(), encoding="utf-8")
    assert findings(near, pipeline, {}) == []


def test_values_of_parameters_are_judged_and_not_only_their_defaults(pipeline: Pipeline) -> None:
    across = Pipeline(pipeline.sources, load_pipeline(ROOT / "pipeline.toml").rollups)
    assert findings(SOUND, across, {}) == []
    (found,) = findings(SOUND, across, {"Factor": "4"})
    assert (found.rule, found.severity) == ("SG002", "warning")
    assert found.what.endswith("across partition keys go: page_views")
    deployed = replace(across, deploy={"Factor": "4"})
    assert findings(SOUND, deployed, {}) == [found]
    assert findings(SOUND, deployed, {"Factor": "1"}) == []


@pytest.mark.parametrize(
    ("name", "value"), [("Factor", "11"), ("Factor", "0"), ("Factor", "many"), ("Mail", "nobody")]
)
def test_a_parameter_outside_its_bounds_is_refused_where_the_template_declares_it(
    name: str, value: str, pipeline: Pipeline
) -> None:
    (found,) = [each for each in findings(SOUND, pipeline, {name: value}) if each.rule == "SG050"]
    assert SOUND.read_text(encoding="utf-8").splitlines()[found.line - 1].strip().startswith(f"{name}:")


def test_every_rule_has_a_mistake_that_it_refuses() -> None:
    by_value = {"SG002", "SG050"}  # the two tests above
    assert {each.rule for each in MISTAKES} | by_value == {each.id for each in rules.ALL}
    assert len({each.id for each in rules.ALL}) == len(rules.ALL)


def test_a_resource_may_keep_what_a_rule_refuses_if_it_says_why(pipeline: Pipeline, tmp_path: Path) -> None:
    planted = tmp_path / "template.yaml"
    for reason, accepted in (("one record a batch", "one record a batch"), ("", "")):
        text = SOUND.read_text(encoding="utf-8").replace(
            "BisectBatchOnFunctionError: true", "BisectBatchOnFunctionError: false"
        )
        metadata = f'    Metadata: {{streamgage: {{accept: {{SG007: "{reason}"}}}}}}\n'
        planted.write_text(text.replace("  Count:\n", f"  Count:\n{metadata}"), encoding="utf-8")
        (found,) = findings(planted, pipeline, {})
        assert (found.rule, found.accepted) == ("SG007", accepted)


COLLECTED = ("Events", "Metrics", "Lines", "Preflight", "Health", "Ready")


def test_our_template_has_no_finding_under_its_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = lint(str(TEMPLATE), capsys=capsys)
    *accepted, last = out.splitlines()
    assert {tuple(each.split()[2:4]) for each in accepted} == {
        ("SG031", "DeploymentRole:"),  # as WIDE in test_least_privilege.py
        ("SG022", "ConnectionsTable:"),  # nobody's data: who is connected now
        ("SG022", "IdempotencyTable:"),  # keys of batches, for two days
        *(("SG060", f"Collector{each}Route:") for each in COLLECTED),  # who sends is asked by the function
    }
    assert (code, last.partition(": ")[2]) == (0, "0 errors, 0 warnings, 11 accepted")


def test_our_template_has_no_error_with_everything_switched_on(capsys: pytest.CaptureFixture[str]) -> None:
    on = {
        "StreamMode": "ON_DEMAND",
        "ParallelizationFactor": "10",
        "Tracing": "Active",
        "AlarmEmail": "someone@example.com",
        "KeyArn": "arn:aws:kms:us-east-1:000000000000:key/11111111-2222-3333-4444-555555555555",
        "IotTopic": "telemetry/+",
    }
    options = [each for name, value in on.items() for each in ("--parameter", f"{name}={value}")]
    code, out, _ = lint(*options, "--format", "json", capsys=capsys)
    left = [each["rule"] for each in json.loads(out) if not each["accepted"]]
    assert (code, left) == (0, ["SG002"])  # pages are visited across visitors


def test_the_command_tells_file_line_rule_reason_and_mend(
    pipeline: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planted = tmp_path / "template.yaml"
    mistake = next(each for each in MISTAKES if each.rule == "SG006")
    planted.write_text(mistake.planted(), encoding="utf-8")
    code, out, _ = lint(str(planted), capsys=capsys)
    assert code == 1
    first, why, mend, last = out.splitlines()
    assert first.startswith(f"{planted}:{mistake.line()}: error SG006 CountTelemetry: ")
    assert why.startswith("    why:  Lambda does not read")
    assert mend.startswith("    mend: add FunctionResponseTypes")
    assert last == f"{planted}: 1 errors, 0 warnings, 0 accepted"


def test_what_cfn_lint_finds_is_told_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    planted = tmp_path / "template.yaml"
    planted.write_text(
        SOUND.read_text(encoding="utf-8").replace("ShardCount: 2", "ShardCount: many"), encoding="utf-8"
    )
    code, out, _ = lint(str(planted), "--format", "json", capsys=capsys)
    (found,) = [each for each in json.loads(out) if each["rule"].startswith("E")]
    lines = planted.read_text(encoding="utf-8").splitlines()
    assert (code, lines[found["line"] - 1].strip()) == (1, "ShardCount: many")


def test_without_cfn_lint_our_rules_are_asked_all_the_same_and_how_to_get_it_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "cfnlint" else find(name, *rest)
    )
    load = builtins.__import__

    def refuse(name: str, *rest: Any, **more: Any) -> Any:
        assert not name.startswith("cfnlint")
        return load(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    planted = tmp_path / "template.yaml"
    mistake = next(each for each in MISTAKES if each.rule == "SG006")
    planted.write_text(mistake.planted(), encoding="utf-8")
    code, out, err = lint(str(planted), capsys=capsys)
    assert (code, "SG006" in out, "pip install 'streamgage[dev]'" in err) == (1, True, True)


def test_a_template_that_cannot_be_read_and_a_parameter_that_it_does_not_have_are_for_a_person(
    pipeline: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        findings(tmp_path / "none.yaml", pipeline, {})
    with pytest.raises(ConfigError, match="did you mean Factor"):
        findings(SOUND, pipeline, {"factor": "1"})
    with pytest.raises(ConfigError, match="NAME=VALUE"):
        lint("--parameter", "Factor", capsys=capsys)


def test_expressions_are_evaluated_as_cloudformation_does() -> None:
    template = {
        "Parameters": {"N": {"Type": "Number"}},
        "Conditions": {
            "One": {"Fn::Equals": [{"Ref": "N"}, "1"]},
            "Other": {"Fn::Not": [{"Condition": "One"}]},
            "Both": {"Fn::And": [{"Condition": "One"}, {"Condition": "Other"}]},
            "Either": {"Fn::Or": [{"Condition": "One"}, {"Condition": "Other"}]},
        },
        "Resources": {
            "Gone": {"Type": "X", "Condition": "Both"},
            "Kept": {
                "Type": "X",
                "Condition": "Either",
                "Properties": {
                    "Number": {"Ref": "N"},
                    "List": [{"Fn::If": ["One", {"Ref": "AWS::NoValue"}, "two"]}, "last"],
                    "Absent": {"Fn::If": ["Other", "here", {"Ref": "AWS::NoValue"}]},
                    "Text": {
                        "Fn::Sub": ["${N} of ${M} in ${AWS::Region}, ${!clientid()}", {"M": {"Ref": "N"}}]
                    },
                    "Joined": {"Fn::Join": ["-", ["a", {"Fn::Sub": "${N}"}]]},
                    "Open": {"Fn::Sub": "${Bucket.Arn}/${N}/*"},
                    "Known": {"Fn::GetAtt": ["Bucket", "Arn"]},
                },
            },
        },
    }
    kept = resolved(template, parameters={"N": "1"})["Kept"]["Properties"]
    assert kept == {
        "Number": 1,
        "List": ["last"],
        "Text": "1 of 1 in us-east-1, ${clientid()}",
        "Joined": "a-1",
        "Open": {"Fn::Sub": "${Bucket.Arn}/1/*"},
        "Known": {"Fn::GetAtt": ["Bucket", "Arn"]},
    }
    known = resolved(template, parameters={"N": "2"}, attributes={"Bucket.Arn": "arn:b"})
    assert set(known) == {"Kept"}
    assert (known["Kept"]["Properties"]["Absent"], known["Kept"]["Properties"]["List"]) == (
        "here",
        ["two", "last"],
    )
    assert (known["Kept"]["Properties"]["Open"], known["Kept"]["Properties"]["Known"]) == (
        "arn:b/2/*",
        "arn:b",
    )


def test_the_documented_table_of_rules_is_the_codes() -> None:
    """To renew it: `streamgage lint --rules`, between the marks of docs/lint.md."""
    _, _, rest = DOCS.read_text(encoding="utf-8").partition("<!-- rules -->\n")
    assert rest.partition("\n<!-- end -->")[0] == rules.table()
