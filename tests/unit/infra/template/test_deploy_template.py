import json
from pathlib import Path

import pytest

from infra.aws.deploy.artifacts import TEMPLATE_BODY_BYTES
from infra.template.read import TEMPLATE, body_of, parameters_for, read_template, with_code
from streamgage.errors import ConfigError

PARAMETERS = {
    "Parameters": {
        "ShardCount": {"Type": "Number", "Default": 2},
        "Protect": {"Type": "String", "Default": True, "AllowedValues": ["true", "false"]},
        "Key": {"Type": "String"},
    }
}


def test_an_argument_wins_over_the_definition_and_that_over_the_default() -> None:
    values = parameters_for(PARAMETERS, deploy={"ShardCount": "3", "Key": "k"}, given={"ShardCount": "4"})
    assert values == {"ShardCount": "4", "Protect": "true", "Key": "k"}


def test_every_wrong_name_is_told_with_the_nearest_and_where_it_stands() -> None:
    with pytest.raises(ConfigError) as told:
        parameters_for(PARAMETERS, deploy={"shardcount": "3", "Key": "k"}, given={"Zzz": "4"})
    assert told.value.problems == (
        "[deploy] shardcount: the template has no such parameter; did you mean ShardCount?",
        "--parameter Zzz: the template has no such parameter; it has: Key, Protect, ShardCount",
    )


def test_a_parameter_without_value_and_one_that_is_not_allowed_are_told() -> None:
    with pytest.raises(ConfigError) as told:
        parameters_for(PARAMETERS, deploy={}, given={"Protect": "yes"})
    assert told.value.problems == (
        "parameter Protect is 'yes'; it may be: true, false",
        "parameter Key has no default: give it in [deploy] of pipeline.toml, or --parameter Key=VALUE",
    )


def test_only_local_code_goes_to_s3_and_the_template_read_stays_as_it_was() -> None:
    template = {
        "Globals": {"Function": {"CodeUri": "build"}},
        "Resources": {
            "A": {"Type": "AWS::Serverless::Function", "Properties": {"CodeUri": "../build"}},
            "B": {"Type": "AWS::Serverless::Function", "Properties": {"CodeUri": "s3://mine/b.zip"}},
            "C": {
                "Type": "AWS::Serverless::Function",
                "Properties": {"CodeUri": {"Bucket": "x", "Key": "y"}},
            },
            "D": {"Type": "AWS::S3::Bucket"},
            "E": {"Type": "AWS::Serverless::Function", "Properties": {"InlineCode": "1"}},
        },
    }
    before = json.dumps(template)
    changed = with_code(template, "s3://bucket/key.zip")
    assert json.dumps(template) == before
    places = {name: each.get("Properties", {}).get("CodeUri") for name, each in changed["Resources"].items()}
    assert places == {
        "A": "s3://bucket/key.zip",
        "B": "s3://mine/b.zip",
        "C": {"Bucket": "x", "Key": "y"},
        "D": None,
        "E": None,
    }
    assert changed["Globals"]["Function"]["CodeUri"] == "s3://bucket/key.zip"


def test_our_template_is_read_whole_takes_its_defaults_and_fits_into_a_request() -> None:
    template = read_template(TEMPLATE)
    assert parameters_for(template, deploy={}, given={}).keys() == template["Parameters"].keys()
    body = body_of(with_code(template, "s3://bucket/key.zip"))
    assert json.loads(body)["Transform"] == "AWS::Serverless-2016-10-31"
    assert "!Ref" not in body
    assert "build/aggregate" not in body
    assert len(body.encode()) < TEMPLATE_BODY_BYTES


@pytest.mark.parametrize(
    ("text", "told"), [("a: [", "not YAML"), ("- 1", "not a template"), ("Resources: 1", "not a template")]
)
def test_what_is_no_template_is_told_with_its_path(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"t.yaml: {told}"):
        read_template(path)
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read"):
        read_template(tmp_path / "none.yaml")
