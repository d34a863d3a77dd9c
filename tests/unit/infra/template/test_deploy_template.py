import json
from pathlib import Path

import pytest

from infra.template.read import (
    TEMPLATE,
    body_of,
    local_code,
    parameters_for,
    read_template,
    with_code,
)
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
            "F": {"Type": "AWS::Serverless::Function", "Properties": {"Handler": "f.handler"}},
            "E": {"Type": "AWS::Serverless::Function", "Properties": {"InlineCode": "1"}},
        },
    }
    before = json.dumps(template)
    assert local_code(template) == {"../build": "", "build": "f.handler"}
    changed = with_code(template, {"../build": "s3://bucket/a.zip", "build": "s3://bucket/f.zip"})
    assert json.dumps(template) == before
    places = {name: each.get("Properties", {}).get("CodeUri") for name, each in changed["Resources"].items()}
    assert places == {
        "A": "s3://bucket/a.zip",
        "B": "s3://mine/b.zip",
        "C": {"Bucket": "x", "Key": "y"},
        "D": None,
        "F": None,
        "E": None,
    }
    assert changed["Globals"]["Function"]["CodeUri"] == "s3://bucket/f.zip"


def test_one_bundle_is_not_made_of_two_functions() -> None:
    one, other = (
        {
            "Type": "AWS::Serverless::Function",
            "Properties": {"CodeUri": "build", "Handler": f"{name}.handler"},
        }
        for name in "ab"
    )
    with pytest.raises(ConfigError, match=r"B: CodeUri build has two handlers, a\.handler and b\.handler"):
        local_code({"Resources": {"A": one, "B": other}})


def test_our_template_is_read_whole_takes_its_defaults_and_fits_into_a_bucket() -> None:
    template = read_template(TEMPLATE)
    assert parameters_for(template, deploy={}, given={}).keys() == template["Parameters"].keys()
    places = {place: f"s3://bucket/{number}.zip" for number, place in enumerate(local_code(template))}
    assert len(places) == 5
    body = body_of(with_code(template, places))
    assert json.loads(body)["Transform"] == "AWS::Serverless-2016-10-31"
    assert "!Ref" not in body
    assert "../build" not in body
    assert all(f'"CodeUri":"{each}"' in body for each in places.values())
    assert len(body.encode()) < 1_000_000  # what CloudFormation takes from S3; a request takes 51,200


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
