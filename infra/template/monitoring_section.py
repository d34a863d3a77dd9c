"""The section of infra/template/template.yaml that infra/template/monitoring.py states: alarms and dashboard, as YAML."""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from infra.template.monitoring import ALARMS, GRAPHS, Alarm, Graph, Percentage, Series
from infra.template.read import TEMPLATE
from streamgage.errors import ConfigError

BEGIN = "  # --- monitoring: written by `python -m infra.template.monitoring_section --write` from infra/template/monitoring.py ---\n"
END = "  # --- end of monitoring ---\n"

_STREAM_NAME = '!If [OwnStream, !Ref Stream, !Select [1, !Split ["/", !Sub "${SharedStreamArn}/"]]]'
_TABLE_NAME = "!If [OwnTable, !Ref Aggregates, !Ref SharedTable]"
# Conditions whose alarms the dashboard shows where they hold. What else is conditional rings, and has no place there.
_SHOWN_IF = ("OwnTable", "OwnStream", "Served", "Collecting", "Live", "Paged")
_WIDTH, _HEIGHT, _COLUMNS = 8, 6, 24  # of one graph, in the dashboard's grid
_ALARMS_HEIGHT = 3
_GRAPH_PERIOD_S = 300


def with_section(template: str) -> str:
    """Return the text of *template* with the section as it is to be.

    Raises:
        ConfigError: its two marks are not there.
    """
    before, begin, rest = template.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ConfigError(f"the template has no section between {BEGIN.strip()!r} and {END.strip()!r}")
    return f"{before}{BEGIN}{section()}{END}{after}"


def section() -> str:
    """Return the YAML of all alarms and of the dashboard."""
    return "".join(f"{line}\n" if line else "\n" for line in _lines())


def _lines() -> Iterator[str]:
    for alarm in ALARMS:
        yield from _alarm(alarm)
        yield ""
    yield "  Dashboard:"
    yield "    Type: AWS::CloudWatch::Dashboard"
    yield "    Properties:"
    yield "      DashboardName: !Ref AWS::StackName"
    yield "      DashboardBody: !Sub"
    yield "        - |"
    yield from (f"          {line}" for line in _dashboard())
    # A stack beside another has neither stream nor table of its own, and no alarms on them.
    yield f"        - StreamName: {_STREAM_NAME}"
    yield f"          TableName: {_TABLE_NAME}"
    for condition in _SHOWN_IF:
        if alarms := "".join(f', "${{{each.logical_id}.Arn}}"' for each in _alarms_if(condition)):
            yield from _text_if(f"{condition}Alarms", condition, alarms)
        if graphs := [number for number, each in enumerate(GRAPHS) if each.only_if == condition]:
            widgets = "".join(f", {json.dumps(_graph_widget(number))}" for number in graphs)
            yield from _text_if(f"{condition}Graphs", condition, widgets)


def _alarms_if(condition: str) -> list[Alarm]:
    return [each for each in ALARMS if each.only_if == condition]


def _text_if(name: str, condition: str, text: str) -> Iterator[str]:
    yield f"          {name}: !If"
    yield f"            - {condition}"
    yield f"            - !Sub '{text}'"
    yield '            - ""'


def _alarm(alarm: Alarm) -> Iterator[str]:
    yield f"  {alarm.logical_id}:"
    yield "    Type: AWS::CloudWatch::Alarm"
    if alarm.only_if:
        yield f"    Condition: {alarm.only_if}"
    yield "    Properties:"
    yield f'      AlarmName: !Sub "${{AWS::StackName}}-{alarm.name}"'
    yield f"      AlarmDescription: {_text(f'{alarm.says}. {alarm.why} Runbook: {alarm.runbook}')}"
    if isinstance(alarm.measure, Percentage):
        yield "      Metrics:"
        yield '        - {Id: ratio, Label: percent, Expression: "IF(whole > 0, 100 * part / whole, 0)"}'
        for name, series in (("part", alarm.measure.part), ("whole", alarm.measure.whole)):
            yield f"        - Id: {name}"
            yield "          ReturnData: false"
            yield "          MetricStat:"
            yield f"            Metric: {{Namespace: {series.namespace}, MetricName: {series.metric}, {_dimensions(series)}}}"
            yield f"            Period: {alarm.period_s}"
            yield f"            Stat: {series.statistic}"
    else:
        yield f"      Namespace: {alarm.measure.namespace}"
        yield f"      MetricName: {alarm.measure.metric}"
        yield f"      {_dimensions(alarm.measure)}"
        percentile = "Extended" * alarm.measure.statistic.startswith("p")
        yield f"      {percentile}Statistic: {alarm.measure.statistic}"
        yield f"      Period: {alarm.period_s}"
    yield "      ComparisonOperator: GreaterThanOrEqualToThreshold"
    yield f"      Threshold: {alarm.threshold}"
    yield f"      EvaluationPeriods: {alarm.of or alarm.periods}"
    yield f"      DatapointsToAlarm: {alarm.periods}"
    yield "      TreatMissingData: notBreaching"
    yield "      AlarmActions: [!Ref AlarmTopic]"
    yield "      OKActions: [!Ref AlarmTopic]"


def _dimensions(series: Series) -> str:
    each = ", ".join(f"{{Name: {name}, Value: {_value(value)}}}" for name, value in series.dimensions)
    return f"Dimensions: [{each}]"


def _value(value: str) -> str:
    """Return a dimension's value in YAML, where it stands alone: ``${A}`` is a Ref, ``${A.B}`` an attribute."""
    if match := re.fullmatch(r"\$\{([\w.]+)\}", value):
        return f"!{'GetAtt' if '.' in match[1] else 'Ref'} {match[1]}"
    return _text(value)


def _text(value: str) -> str:
    return json.dumps(value)  # a JSON string is one of YAML


def _dashboard() -> Iterator[str]:
    """Yield the dashboard's body, a widget a line: text for Fn::Sub."""
    yield '{"widgets": ['
    shown = [f"${{{alarm.logical_id}.Arn}}" for alarm in ALARMS if not alarm.only_if]
    more = "".join(f"${{{each}Alarms}}" for each in _SHOWN_IF if _alarms_if(each))
    widgets = [
        _widget("alarm", (0, 0, _COLUMNS, _ALARMS_HEIGHT), {"title": "Alarms", "alarms": [*shown, "more"]})
    ]
    widgets += [_graph_widget(number) for number, each in enumerate(GRAPHS) if not each.only_if]
    text = ",\n          ".join(json.dumps(each) for each in widgets)
    text = text.replace(', "more"]', f"{more}]").replace("${Stream}", "${StreamName}")
    yield text.replace("${Aggregates}", "${TableName}")
    yield "".join(
        f"${{{each}Graphs}}" for each in _SHOWN_IF if any(graph.only_if == each for graph in GRAPHS)
    )
    yield "]}"


def _graph_widget(number: int) -> dict[str, Any]:
    """Return the widget of the graph of that *number*, at its place: conditional ones stand last, and leave no gap."""
    row, column = divmod(number, _COLUMNS // _WIDTH)
    place = (column * _WIDTH, _ALARMS_HEIGHT + row * _HEIGHT, _WIDTH, _HEIGHT)
    return _widget("metric", place, _graph(GRAPHS[number]))


def _widget(kind: str, place: tuple[int, int, int, int], properties: dict[str, Any]) -> dict[str, Any]:
    x, y, width, height = place
    return {"type": kind, "x": x, "y": y, "width": width, "height": height, "properties": properties}


def _graph(graph: Graph) -> dict[str, Any]:
    return {
        "title": graph.title,
        "region": graph.region,
        "view": "timeSeries",
        "stacked": graph.stacked,
        "period": _GRAPH_PERIOD_S,
        "yAxis": {"left": {"label": graph.label, "min": 0}},
        "metrics": [
            [
                each.namespace,
                each.metric,
                *(text for pair in each.dimensions for text in pair),
                {"stat": each.statistic},
            ]
            for each in graph.series
        ],
    }


def main(arguments: Sequence[str]) -> int:
    """Write the template's section, or tell whether it is up to date (0) or not (1)."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.template.monitoring_section", description=main.__doc__
    )
    parser.add_argument("--write", action="store_true", help="write the section")
    wanted = parser.parse_args(arguments).write
    text = TEMPLATE.read_text(encoding="utf-8")
    fresh = with_section(text)
    if wanted:
        TEMPLATE.write_text(fresh, encoding="utf-8")
        return 0
    if fresh != text:
        print(
            f"{TEMPLATE} is not what infra/template/monitoring.py says. Say: python -m infra.template.monitoring_section --write"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
