"""Parameters of a local stack: who is asked for their values, and in which order."""

from typing import Any

import pytest

from infra.commands.configuration import parameters
from infra.local.stack.parameters import HERE, with_those_of_here


@pytest.mark.parametrize(
    ("given", "known", "used"),
    [
        ({}, {"BatchingWindow", "ShardCount"}, {"BatchingWindow": "1"}),
        ({"BatchingWindow": "5"}, {"BatchingWindow"}, {"BatchingWindow": "5"}),
        ({"ShardCount": "4"}, {"ShardCount"}, {"ShardCount": "4"}),  # another template, without it
    ],
)
def test_what_a_person_says_is_used_and_else_what_is_for_here_where_the_template_knows_it(
    given: dict[str, str], known: set[str], used: dict[str, str]
) -> None:
    assert with_those_of_here(given, known) == used


def test_what_is_for_here_are_other_values_of_the_templates_own_parameters() -> None:
    def default(name: str) -> Any:
        return parameters()[name]["Default"]

    assert not {name: value for name, value in HERE.items() if str(default(name)) == value}
