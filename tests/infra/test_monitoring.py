"""Alarms and dashboard: the template says what infra/template/monitoring.py says, of metrics that exist."""

import json
import re
from collections import Counter
from collections.abc import Iterator

import pytest

from infra.template.monitoring import (
    ALARMS,
    COLLECTING,
    GRAPHS,
    LIVE,
    PAGED,
    RUNBOOK,
    SERVED,
    Alarm,
    Percentage,
    Series,
)
from infra.template.monitoring_section import BEGIN, END, main, section, with_section
from infra.template.read import TEMPLATE
from infra.template.translate import translate
from processors.aggregate.batch import BatchReport
from processors.aggregate.report import METRICS, NAMESPACE, Reporter
from processors.sink.fenced import Applied
from streamgage.errors import ConfigError
from support.paths import ROOT
from support.template_rules import PAGE, decide

# The metrics of AWS that we watch, as their developer guides name them: see infra/template/monitoring.py.
OF_AWS = {
    "AWS/Lambda": {
        "IteratorAge", "Errors", "Throttles", "Invocations", "Duration", "DestinationDeliveryFailures",
        "OnFailureDestinationDeliveredEventCount", "DroppedEventCount", "ConcurrentExecutions",
    },
    "AWS/ApiGateway": {
        "Count", "4xx", "5xx", "Latency", "IntegrationLatency",  # as HTTP APIs have them
        "ConnectCount", "MessageCount", "ClientError", "IntegrationError",  # as WebSocket APIs do
    },
    "AWS/Kinesis": {"WriteProvisionedThroughputExceeded", "IncomingRecords", "IncomingBytes", "GetRecords.Records"},
    "AWS/DynamoDB": {"WriteThrottleEvents", "ConsumedWriteCapacityUnits"},
    "AWS/CloudFront": {"Requests", "4xxErrorRate", "5xxErrorRate"},
    "AWS/SQS": {"ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"},
    "AWS/Logs": {"IncomingLogEvents"},
    "streamgage/http": {"CollectorUnavailable"},  # of the template's metric filter
}  # fmt: skip


def watched() -> Iterator[Series]:
    for alarm in ALARMS:
        measure = alarm.measure
        yield from (measure.part, measure.whole) if isinstance(measure, Percentage) else (measure,)
    for graph in GRAPHS:
        yield from graph.series


def test_the_template_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0, capsys.readouterr().out


def test_a_section_that_was_changed_by_hand_is_put_right() -> None:
    text = TEMPLATE.read_text(encoding="utf-8")
    assert with_section(text.replace("Threshold: 900000", "Threshold: 9")) == text
    assert with_section(f"a\n{BEGIN}{END}b\n") == f"a\n{BEGIN}{section()}{END}b\n"
    with pytest.raises(ConfigError, match="no section"):
        with_section(text.replace(END, ""))


def test_every_metric_exists() -> None:
    for each in watched():
        known = set(METRICS) if each.namespace == NAMESPACE else OF_AWS[each.namespace]
        assert each.metric in known


def test_every_metric_of_ours_is_on_the_dashboard() -> None:
    assert {each.metric for graph in GRAPHS for each in graph.series if each.namespace == NAMESPACE} == set(
        METRICS
    )


def test_our_metrics_are_asked_for_by_the_dimensions_that_the_function_gives_them() -> None:
    """CloudWatch takes a metric with other dimensions for another metric: the alarm would never ring."""
    written: list[str] = []
    report = BatchReport(
        shard_id="shardId-000000000000", first_sequence_number=1, last_sequence_number=2, kinesis_records=2, user_records=2,
        redelivered_records=0, repeated_records=0, poison=Counter(), applied=Applied(), progress=Applied(), failed_from=None,
        behind_ms=1,
    )  # fmt: skip
    Reporter("${Aggregate}", write=written.append, now_ms=lambda: 0, cpu_ns=lambda: 0)(report)
    blob = json.loads(written[0].splitlines()[1])
    (directive,) = blob["_aws"]["CloudWatchMetrics"]
    (names,) = directive["Dimensions"]
    dimensions = tuple((name, blob[name]) for name in names)
    ours = [each for each in watched() if each.namespace == directive["Namespace"]]
    assert ours
    assert {each.dimensions for each in ours} == {dimensions}


def test_the_runbook_has_a_section_for_each_alarm() -> None:
    page = (ROOT / RUNBOOK).read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    assert {alarm.name for alarm in ALARMS} <= set(headings)


def test_names_are_unique_and_fit_for_a_heading() -> None:
    names = [alarm.name for alarm in ALARMS]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", name) for name in names)


@pytest.mark.parametrize("alarm", ALARMS, ids=lambda alarm: alarm.name)
def test_an_alarm_can_ring(alarm: Alarm) -> None:
    """CloudWatch takes at most a day of periods, and no more datapoints than there are."""
    assert alarm.period_s in {60, 300, 3600}
    assert alarm.period_s * (alarm.of or alarm.periods) <= 86_400
    assert 1 <= alarm.periods <= (alarm.of or alarm.periods)
    assert alarm.threshold > 0


def test_what_takes_a_deployment_back_rings_while_it_is_a_canary() -> None:
    deployed = decide(translate(TEMPLATE), {})
    groups = {
        name.removesuffix("DeploymentGroup"): each["Properties"]
        for name, each in deployed.resources.items()
        if each["Type"] == "AWS::CodeDeploy::DeploymentGroup"
    }
    assert groups.keys() == {alarm.rolls_back for alarm in ALARMS if alarm.rolls_back}
    for function, group in groups.items():
        back = [alarm for alarm in ALARMS if alarm.rolls_back == function]
        used = {each["Name"]["Ref"] for each in group["AlarmConfiguration"]["Alarms"]}
        assert used == {alarm.logical_id for alarm in back}
        minutes = re.search(r"Canary10Percent(\d+)Minutes", json.dumps(group["DeploymentConfigName"]))
        assert minutes
        for alarm in back:
            assert alarm.period_s * (alarm.of or alarm.periods) < int(minutes[1]) * 60


@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"Api": "false"},
        {"SharedTable": "plant-7-Aggregates-1", "Api": "false"},
        {"SharedTable": "plant-7-Aggregates-1"},
        PAGE,
    ],
)
def test_the_dashboard_is_json_of_widgets_that_do_not_overlap(chosen: dict[str, str]) -> None:
    (dashboard,) = decide(translate(TEMPLATE), chosen).of("AWS::CloudWatch::Dashboard")
    text, values = dashboard["Properties"]["DashboardBody"]["Fn::Sub"]
    for name, value in values.items():  # texts that are put in as they are
        known = str(value) if name.endswith(("Alarms", "Graphs")) else str(value or "x")
        text = text.replace(f"${{{name}}}", value.get("Fn::Sub", known) if isinstance(value, dict) else known)
    widgets = json.loads(text)["widgets"]
    there = {"", *({SERVED} if "Api" not in chosen else ()), *({PAGED} if "Page" in chosen else ())}
    there |= {LIVE} if chosen in ({}, PAGE) else set()
    there |= {COLLECTING} if "Api" not in chosen else set()
    shown = {graph.title for graph in GRAPHS if graph.only_if in there}
    assert {each["properties"]["title"] for each in widgets} == {"Alarms", *shown}
    if "Api" in chosen:
        assert "Api" not in text
    cells = [
        (x, y)
        for each in widgets
        for x in range(each["x"], each["x"] + each["width"])
        for y in range(each["y"], each["y"] + each["height"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
