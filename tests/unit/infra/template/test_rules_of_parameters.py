"""A template's own Rules: which of their assertions parameters break, as far as it can be told here."""

from typing import Any

import pytest

from infra.template.lint.resolve import broken_rules

IS_ONE: dict[str, Any] = {"Fn::Equals": [{"Ref": "N"}, "1"]}


def broken(rule: dict[str, Any], **parameters: str) -> list[str]:
    template = {"Parameters": {"N": {"Type": "String"}}, "Rules": {"R": rule}}
    return [told for _, told in broken_rules(template, parameters={"N": "1", **parameters})]


def test_an_assertion_that_does_not_hold_is_told_with_its_place_and_words() -> None:
    rule = {"Assertions": [{"Assert": True}, {"Assert": IS_ONE, "AssertDescription": "N is one."}]}
    assert broken(rule) == []
    assert broken(rule, N="2") == ["N is one."]
    template = {"Rules": {"R": rule}}
    ((path, _),) = broken_rules(template, parameters={"N": "2"})
    assert path == ("Rules", "R", "Assertions", 1, "Assert")
    assert broken({"Assertions": [{"Assert": IS_ONE}]}, N="2") == ["R"]


def test_a_rule_whose_condition_does_not_hold_asks_nothing() -> None:
    rule = {"RuleCondition": {"Fn::Not": [IS_ONE]}, "Assertions": [{"Assert": {"Fn::Not": [IS_ONE]}}]}
    assert broken(rule) == []
    assert broken({**rule, "RuleCondition": IS_ONE}) == ["R"]


@pytest.mark.parametrize("name", ["Fn::Contains", "Fn::EachMemberIn", "Fn::ValueOf"])
def test_what_is_asked_by_other_functions_is_left_to_cloudformation(name: str) -> None:
    unknown = {"Fn::Not": [{name: [["1"], {"Ref": "N"}]}]}
    assert broken({"Assertions": [{"Assert": unknown}]}) == []
    assert broken({"RuleCondition": unknown, "Assertions": [{"Assert": {"Fn::Not": [IS_ONE]}}]}) == []


def test_a_template_without_rules_has_none_to_break() -> None:
    assert list(broken_rules({}, parameters={})) == []
