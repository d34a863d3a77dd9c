"""``streamgage check`` says what of agents becomes an event of a source."""

from pathlib import Path

import pytest

from infra.commands.main import main
from support.agents import DEFINITION
from support.paths import ROOT


def test_each_mapping_is_told_with_what_it_means_and_where_its_fields_come_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "schemas").symlink_to(ROOT / "schemas")
    path = tmp_path / "pipeline.toml"
    path.write_text(DEFINITION, encoding="utf-8")
    assert main(["check", "--pipeline", str(path)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert any(each.startswith("  from cloudevents, type com.example.reading: ") for each in told)
    assert (
        "  from influx, measurement hall or room: device_id = measurement, metric = text:t, value = field:temp, ts = time"
        in told
    )
