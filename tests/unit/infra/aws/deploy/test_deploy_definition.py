"""The [deploy] table of pipeline.toml: parameters of the template, as text."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.pipeline_files import FilesIn
from streamgage.definition.pipeline_toml import parse_pipeline
from streamgage.errors import ConfigError
from support.paths import ROOT
from support.strategies import DEFINITION

FILES = FilesIn(ROOT)


def deploy(text: str) -> dict[str, str]:
    return parse_pipeline(f"{DEFINITION}\n[deploy]\n{text}", FILES).deploy


def test_a_definition_needs_none() -> None:
    assert parse_pipeline(DEFINITION, FILES).deploy == {}


def test_numbers_texts_and_truths_become_what_cloudformation_takes() -> None:
    text = 'ShardCount = 4\nStreamMode = "ON_DEMAND"\nDeletionProtection = true\nA = false\nB = ""\nC = -1'
    assert deploy(text) == {
        "ShardCount": "4",
        "StreamMode": "ON_DEMAND",
        "DeletionProtection": "true",
        "A": "false",
        "B": "",
        "C": "-1",
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("A = 1.5", "deploy.A: 1.5 is not a text, a whole number, true or false"),
        ("A = [1]", r"deploy.A: \[1\] is not a text"),
        ("A.b = 1", r"deploy.A: \{'b': 1\} is not a text"),
        ("A = 2026-11-21", "deploy.A: .*is not a text"),
        ("a-b = 1", "deploy.'a-b': not the name of a parameter"),
        (f"A = 0x{'f' * 5000}", "deploy.A: the value is not a text"),
    ],
)
def test_anything_else_is_a_problem_with_its_path(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        deploy(text)


def test_a_table_that_is_none_is_told() -> None:
    with pytest.raises(ConfigError, match="deploy: 3 is not a table"):
        parse_pipeline(f"deploy = 3\n{DEFINITION}", FILES)


@settings(deadline=None, max_examples=50)
@given(
    values=st.dictionaries(
        st.text("abcXYZ019", min_size=1, max_size=20),
        st.text(st.characters(codec="ascii", exclude_categories=["Cc"])) | st.integers(-(10**17), 10**17),
        max_size=5,
    )
)
def test_every_value_comes_through_as_its_text(values: dict[str, str | int]) -> None:
    text = "\n".join(f"{name} = {json.dumps(value)}" for name, value in values.items())
    assert deploy(text) == {name: str(value) for name, value in values.items()}


def test_our_own_definition_is_still_read() -> None:
    parse_pipeline((ROOT / "pipeline.toml").read_text(), FilesIn(Path(ROOT)))
