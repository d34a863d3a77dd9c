"""The diff of a change set: nothing that CloudFormation would do goes unnamed, and lost data is told as such."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.aws.deploy.changes import (
    DATA_TYPES,
    ParameterChange,
    ResourceChange,
    compare_parameters,
    dangers,
    lane_dangers,
    read_changes,
    render,
)

NAMES = st.text("ABCDEabcde12", min_size=1, max_size=12)
TARGETS = st.fixed_dictionaries(
    {
        "Attribute": st.sampled_from(
            ["Properties", "Tags", "Metadata", "DeletionPolicy", "UpdateReplacePolicy"]
        )
    },
    optional={
        "Name": NAMES,
        "Path": st.lists(NAMES, min_size=1, max_size=3).map(lambda each: "/Properties/" + "/".join(each)),
        "RequiresRecreation": st.sampled_from(["Never", "Conditionally", "Always"]),
        "BeforeValue": st.text(max_size=200),
        "AfterValue": st.text(max_size=200),
    },
)
CHANGES = st.lists(
    st.fixed_dictionaries(
        {
            "Action": st.sampled_from(["Add", "Modify", "Remove", "Import", "Dynamic", "SyncWithActual"]),
            "LogicalResourceId": NAMES,
            "ResourceType": st.sampled_from([*DATA_TYPES, "AWS::Lambda::Function", "AWS::IAM::Role"]),
        },
        optional={
            "PhysicalResourceId": NAMES,
            "PolicyAction": st.sampled_from(["Delete", "Retain", "ReplaceAndDelete", "ReplaceAndRetain"]),
            "Replacement": st.sampled_from(["True", "False", "Conditional"]),
            "Scope": st.lists(st.sampled_from(["Properties", "Tags", "Metadata"]), unique=True),
            "Details": st.lists(
                st.fixed_dictionaries({"Target": TARGETS}, optional={"CausingEntity": NAMES}), max_size=4
            ),
        },
    ),
    max_size=6,
    unique_by=lambda each: each["LogicalResourceId"],
)
PARAMETERS = st.dictionaries(NAMES, st.text(max_size=5), max_size=4)


def of(*raw: dict[str, Any]) -> tuple[ResourceChange, ...]:
    return read_changes({"Type": "Resource", "ResourceChange": each} for each in raw)


def text(*raw: dict[str, Any]) -> str:
    return "\n".join(each.text for each in render(of(*raw), ()))


def modified(**more: Any) -> dict[str, Any]:
    return {
        "Action": "Modify",
        "LogicalResourceId": "Stream",
        "PhysicalResourceId": "plant-Stream-1",
        "ResourceType": "AWS::Kinesis::Stream",
        "Replacement": "False",
        **more,
    }


def detail(name: str, **more: Any) -> dict[str, Any]:
    return {"Target": {"Attribute": "Properties", "Name": name, "RequiresRecreation": "Never", **more}}


@settings(deadline=None, max_examples=150)
@given(raw=CHANGES, before=PARAMETERS, after=PARAMETERS)
def test_the_diff_names_every_change_of_the_change_set(
    raw: list[dict[str, Any]], before: dict[str, str], after: dict[str, str]
) -> None:
    changes = of(*raw)
    lines = [each.text for each in render(changes, compare_parameters(before, after))]
    for name in before.keys() | after.keys():
        told = any(line.split()[:1] == [name] for line in lines)
        assert told or before.get(name) == after.get(name)
    for each in raw:
        (start,) = (
            n
            for n, line in enumerate(lines)
            if line[:1] in "!?-~+>" and line[2:].split()[0] == each["LogicalResourceId"]
        )
        assert each["ResourceType"] in lines[start]
        own = []
        for line in lines[start + 1 :]:
            if not line.startswith("      "):
                break
            own.append(line)
        for one in each.get("Details", ()):
            target = one["Target"]
            last = target.get("Path", "").split("/")[-1] or target.get("Name") or target["Attribute"]
            assert any(last in line for line in own), (target, own)
            assert any(one.get("CausingEntity", "") in line for line in own)
            if target.get("RequiresRecreation") == "Always":
                assert any("makes a new one" in line for line in own)
        told_scopes = {one["Target"]["Attribute"] for one in each.get("Details", ())}
        for scope in each.get("Scope", ()):
            assert scope in told_scopes or any(scope in line for line in own)
    assert lines[-1].startswith(f"{len(raw)} resources" if raw else "no resource")


@settings(deadline=None, max_examples=150)
@given(raw=CHANGES)
def test_whatever_would_take_data_away_is_a_danger_and_nothing_else_is(raw: list[dict[str, Any]]) -> None:
    at_stake = {
        each["LogicalResourceId"]
        for each in raw
        if each["ResourceType"] in DATA_TYPES
        and (
            each["Action"] in ("Remove", "Dynamic")
            or (
                each["Action"] in ("Modify", "SyncWithActual")
                and each.get("Replacement") in ("True", "Conditional")
            )
        )
    }
    changes = of(*raw)
    assert {each.split()[0] for each in dangers(changes)} == at_stake
    red = {line.text[2:].split()[0] for line in render(changes, ()) if line.style == "bold red"}
    assert red == at_stake


def test_a_value_that_changes_is_shown_before_and_after() -> None:
    shown = text(modified(Details=[detail("ShardCount", BeforeValue="2", AfterValue="4")]))
    assert "~ Stream  AWS::Kinesis::Stream\n      ShardCount  2 → 4" in shown


def test_a_nested_property_is_named_by_its_path() -> None:
    shown = text(modified(Details=[detail("Environment", Path="/Properties/Environment/Variables/LANES")]))
    assert "      Environment.Variables.LANES" in shown


def test_a_property_with_two_causes_is_one_line_with_both() -> None:
    shown = text(
        modified(
            Details=[
                {**detail("Code", RequiresRecreation="Conditionally"), "CausingEntity": "CodeKey"},
                {**detail("Code", AfterValue="b"), "CausingEntity": "Bucket.Arn"},
            ]
        )
    )
    assert shown.count("Code  ") == 1
    assert "      Code  (none) → b  (of CodeKey, Bucket.Arn)  may make a new one" in shown


def test_a_replaced_stream_says_that_the_new_one_is_empty_and_what_becomes_of_the_old_one() -> None:
    replaced = modified(Replacement="True", Details=[detail("Name", RequiresRecreation="Always")])
    assert "! Stream  AWS::Kinesis::Stream  REPLACED by a new one, empty: the old one is deleted" in text(
        {**replaced, "PolicyAction": "ReplaceAndDelete"}
    )
    assert "the old one stays" in text({**replaced, "PolicyAction": "ReplaceAndRetain"})
    assert "for its policy to say" in text(replaced)


def test_the_dangerous_stands_first() -> None:
    raw = [
        {"Action": "Add", "LogicalResourceId": "A", "ResourceType": "AWS::IAM::Role"},
        modified(LogicalResourceId="B"),
        {"Action": "Remove", "LogicalResourceId": "C", "ResourceType": "AWS::SQS::Queue"},
        modified(LogicalResourceId="D", Replacement="True"),
    ]
    assert [each.logical_id for each in of(*raw)] == ["D", "C", "B", "A"]


def test_a_long_value_is_cut_and_lines_stay_lines() -> None:
    shown = text(modified(Details=[detail("Body", BeforeValue="x" * 500, AfterValue="{\n  1\n}")]))
    (line,) = (each for each in shown.splitlines() if "Body" in each)
    assert line.endswith("… → { 1 }")
    assert len(line) < 110


def test_a_parameter_that_comes_is_shown_alone_and_one_that_changes_or_goes_with_both_values() -> None:
    changed = compare_parameters({"A": "1", "C": "3", "D": "4"}, {"A": "2", "B": "", "D": "4"})
    lines = [each.text for each in render((), changed)]
    assert lines[1:4] == ["  A  1 → 2", '  B  ""', "  C  3 → (none)"]


@pytest.mark.parametrize(
    ("before", "after", "dangerous"),
    [("1", "4", True), ("4", "1", True), ("2", "10", False), (None, "4", False), ("1", None, False)],
)
def test_another_kind_of_lanes_is_a_danger_to_a_stack_that_stands(
    before: str | None,
    after: str | None,
    dangerous: bool,  # noqa: FBT001 - a table
) -> None:
    changes = [
        ParameterChange("ParallelizationFactor", before, after),
        ParameterChange("ShardCount", "1", "4"),
    ]
    found = lane_dangers(changes)
    assert len(found) == dangerous
    assert all("counts twice" in each and "operations.md#lanes" in each for each in found)
