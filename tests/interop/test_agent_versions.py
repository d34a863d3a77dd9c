"""docs/interop.md names the versions of agents that are run: those of the locks."""

import json
import re

from support.paths import ROOT

_HERE = ROOT / "tests" / "interop"


def test_the_page_names_the_versions_that_are_run() -> None:
    page = (ROOT / "docs" / "interop.md").read_text(encoding="utf-8")
    section = page.partition("\n## Agents\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.endswith(".py |")]
    collector, telegraf = (
        (_HERE / "agents" / each / "go.mod").read_text() for each in ("collector", "telegraf")
    )
    pip = (ROOT / "requirements" / "agents.lock").read_text()
    npm = json.loads((ROOT / "requirements" / "agents" / "package.json").read_text())["dependencies"]

    def of_go(mod: str, module: str) -> str:
        return str(re.findall(rf"{re.escape(module)} v(\S+)", mod)[0])

    def of_pip(name: str) -> str:
        return str(re.findall(rf"^{name}==(\S+)", pip, re.MULTILINE)[0])

    assert [row[1] for row in rows] == [
        of_go(collector, "collector/exporter/otlphttpexporter"),
        of_go(collector, "exporter/awskinesisexporter"),
        of_go(collector, "receiver/hostmetricsreceiver"),
        of_go(telegraf, "influxdata/telegraf"),
        of_pip("opentelemetry-exporter-otlp-proto-http"),
        npm["@opentelemetry/sdk-metrics"],
        of_pip("influxdb-client"),
        npm["@influxdata/influxdb-client"],
        of_pip("cloudevents"),
    ]
    assert all((_HERE / row[3]).exists() for row in rows)
