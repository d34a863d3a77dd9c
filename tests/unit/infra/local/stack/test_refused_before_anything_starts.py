"""What of a mapping is not carried out here is refused before a process, a bundle or a stream is made."""

import re
from pathlib import Path

import pytest

from infra.local.mapping.config import not_carried_out
from infra.local.stack.home import Home
from infra.local.stack.supervisor import Code, Stack, StackOptions
from infra.template.read import TEMPLATE
from streamgage.errors import ConfigError
from support.paths import ROOT


def test_a_tumbling_window_is_refused_before_anything_starts(tmp_path: Path) -> None:
    made: list[Path] = []
    text = TEMPLATE.read_text(encoding="utf-8")
    changed = re.sub(r"TumblingWindowInSeconds: 0.*", "TumblingWindowInSeconds: 30", text)
    assert changed != text
    template = tmp_path / "template.yaml"
    template.write_text(changed, encoding="utf-8")
    code = Code(bundle=lambda folder, _: made.append(folder), runtime=made.append)
    options = StackOptions(
        Home(tmp_path / "home"), ROOT / "pipeline.toml", code, template, aws_port=0, kinesis_port=0
    )
    with pytest.raises(ConfigError, match="TumblingWindowInSeconds is not carried out locally"):
        Stack(options).start()
    assert not made
    assert not (tmp_path / "home" / "logs").exists()


def test_what_is_not_asked_for_or_a_parameter_that_is_not_known_yet_is_let_through() -> None:
    assert not not_carried_out({"TumblingWindowInSeconds": 0, "BatchSize": 3})
    assert not not_carried_out({"TumblingWindowInSeconds": {"Fn::Output": "Local1"}})
