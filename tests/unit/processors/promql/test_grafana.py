"""What Grafana's own Prometheus data source sends is answered, and what is provisioned for it works.

The requests have the form that its source gives them: pkg/promlib/client/client.go, healthcheck.go and heuristics.go, and
packages/grafana-prometheus/src/resource_clients.ts of github.com/grafana/grafana (read 2026-11-29).
"""

import json
import re
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
import yaml

from support.paths import ROOT
from support.promql import Prometheus, pipeline_of

FOLDER = ROOT / "infra" / "grafana"
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
START_S, HOURS = 1_400_000_400 // 3600 * 3600, 6
END_S = START_S + HOURS * 3600


@pytest.fixture(scope="module")
def grafana() -> "Grafana":
    prometheus = Prometheus(pipeline_of((ROOT / "pipeline.toml").read_text()), now_ms=END_S * 1000)
    seconds = range(START_S, END_S, 60)
    prometheus.send(
        "reading",
        [
            {
                "device_id": f"d{device}",
                "metric": "temp",
                "ts": second * 1000,
                "value": float(device),
                "tags": None,
            }
            for second in seconds
            for device in range(3)
            if device or second < START_S + 4.5 * 3600
        ],
    )
    prometheus.send(
        "click",
        [
            {
                "visitor_id": f"v{number % 5}",
                "page": f"/{number % 15}",
                "ts": (START_S - 86_400 + number * 97) * 1000,
                "bytes": 100,
            }
            | {"referrer": None, "action": "view", "status": 200, "properties": None}
            for number in range(1_000)
        ],
    )
    return Grafana(prometheus)


class Grafana:
    """Sends a form, or a query string, as Grafana encodes it."""

    def __init__(self, prometheus: Prometheus) -> None:
        self.prometheus = prometheus

    def send(self, path: str, params: dict[str, str]) -> Any:
        pairs = parse_qsl(urlencode(params), keep_blank_values=True)
        return self.prometheus.data(path.removeprefix("api/v1/"), *pairs)


def test_its_health_check_is_a_sum_at_second_4(grafana: Grafana) -> None:
    assert grafana.send("api/v1/query", {"query": "1+1", "time": "4"}) == {
        "resultType": "scalar",
        "result": [4, "2"],
    }
    older = grafana.send("api/v1/query", {"query": "vector(1)+vector(1)", "time": "4"})
    assert older == {"resultType": "vector", "result": [{"metric": {}, "value": [4, "2"]}]}


def test_it_takes_us_for_prometheus_and_not_for_mimir(grafana: Grafana) -> None:
    build = grafana.send("api/v1/status/buildinfo", {})
    assert "features" not in build
    assert {type(each) for each in build.values()} == {str}
    assert int(build["version"].partition(".")[0]) >= 3


def test_its_metrics_browser_finds_names_labels_and_values(grafana: Grafana) -> None:
    span = {"limit": "40000", "start": str(START_S), "end": str(END_S)}
    names = grafana.send("api/v1/label/__name__/values", span)
    assert "device_metrics_value_mean" in names
    assert names == sorted(names)
    labels = grafana.send("api/v1/labels", {**span, "match[]": '{__name__="device_metrics_value_mean"}'})
    assert labels == ["__name__", "device_id", "metric", "window"]
    match = {"match[]": 'device_metrics_value_mean{metric="temp"}'}
    assert grafana.send("api/v1/label/device_id/values", {**span, **match}) == ["d0", "d1", "d2"]
    series = grafana.send("api/v1/series", {**span, "match[]": '{__name__!=""}'})
    assert {each["__name__"] for each in series} == set(names)
    assert set(grafana.send("api/v1/metadata", {"limit": "40000"})) == set(names)


def test_a_panel_asks_for_a_range_by_a_form(grafana: Grafana) -> None:
    query = 'device_metrics_value_mean{window="1m", device_id=~"(d1|d2)"}'
    data = grafana.send(
        "api/v1/query_range",
        {"query": query, "start": str(START_S), "end": f"{END_S}.123", "step": "60", "timeout": "60s"},
    )
    assert [(each["metric"]["device_id"], len(each["values"])) for each in data["result"]] == [
        ("d1", 360),
        ("d2", 360),
    ]


def expanded(expression: str) -> str:
    """Return *expression* as Grafana sends it over six hours at a step of a minute, with all devices chosen."""
    for macro, text in (("$__rate_interval", "4m0s"), ("$__range", f"{HOURS * 3600}s"), ("$device", ".*")):
        expression = expression.replace(macro, text)
    return expression.replace("4m0s", "4m")


@pytest.mark.parametrize("panel", DASHBOARD["panels"], ids=lambda panel: panel["title"])
def test_every_panel_of_the_dashboard_shows_something(grafana: Grafana, panel: dict[str, Any]) -> None:
    (target,) = panel["targets"]
    query = expanded(target["expr"])
    assert "$" not in query
    if target["instant"]:
        data = grafana.send("api/v1/query", {"query": query, "time": str(END_S)})
    else:
        data = grafana.send(
            "api/v1/query_range", {"query": query, "start": str(START_S), "end": str(END_S), "step": "60"}
        )
    assert data["result"], query
    for each in data["result"]:
        for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
            assert label in each["metric"]


def test_its_tables_say_what_was_sent(grafana: Grafana) -> None:
    by_title = {panel["title"]: panel["targets"][0]["expr"] for panel in DASHBOARD["panels"]}
    silent = next(expr for title, expr in by_title.items() if "silent" in title)
    (fell,) = grafana.send("api/v1/query", {"query": silent, "time": str(END_S)})["result"]
    assert fell["metric"] == {"device_id": "d0"}
    heard = next(expr for title, expr in by_title.items() if "heard" in title)
    (count,) = grafana.send("api/v1/query", {"query": heard, "time": str(END_S)})["result"]
    assert count["value"][1] == "2"


def test_the_dashboards_variable_lists_the_devices(grafana: Grafana) -> None:
    (variable,) = DASHBOARD["templating"]["list"]
    match = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
    assert match is not None
    span = {"limit": "40000", "start": str(START_S), "end": str(END_S), "match[]": match[1]}
    assert grafana.send(f"api/v1/label/{match[2]}/values", span) == ["d0", "d1", "d2"]


def test_what_is_provisioned_refers_to_each_other() -> None:
    source = yaml.safe_load((FOLDER / "datasource.yaml").read_text())["datasources"][0]
    assert (source["type"], source["jsonData"]["httpMethod"]) == ("prometheus", "POST")
    assert yaml.safe_load((FOLDER / "dashboards.yaml").read_text())["providers"][0]["type"] == "file"
    panels = DASHBOARD["panels"]
    uids = {each["datasource"]["uid"] for panel in panels for each in (panel, *panel["targets"])}
    assert uids == {source["uid"]}
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells)), "no panel lies over another"
    assert max(x for x, _ in cells) < 24
