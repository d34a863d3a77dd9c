"""The table of every configuration variable, docs/configuration.md: ``python -m infra.commands.configuration --write``.

Names and defaults are asked of the code that reads them, and of the template; only what they mean is said here. A test
compares the file with this, and this with every variable that the code mentions.
"""

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.local.stack.parameters import HERE
from infra.template.read import TEMPLATE, read_template
from processors.aggregate.settings import Settings
from streamgage.definition.pipeline_toml import parse_pipeline
from streamgage.errors import ConfigError

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"

OF_FUNCTION = {
    "STREAMGAGE_STREAM": "The stream whose shards are listed after a reshard. The template sets it.",
    "STREAMGAGE_STREAM_ARN": "The stream whose batches are taken; those of another are refused. The template sets it.",
    "STREAMGAGE_CONSUMER": "Whose rollups of the definition are counted. The template sets it.",
    "STREAMGAGE_STARTING_POSITION": "Where the mapping began to read: says whether anything came before. The template sets it.",
    "STREAMGAGE_RETENTION_HOURS": "How long the stream keeps a record, and may deliver it again. The template sets it.",
    "STREAMGAGE_TABLE": "The table of the aggregates. The template sets it.",
    "STREAMGAGE_QUARANTINE_URL": "The queue of poison records. The template sets it.",
    "STREAMGAGE_QUARANTINE_BUCKET": "The bucket of poison that is large or much. The template sets it.",
    "STREAMGAGE_PIPELINE": "The definition, in the bundle.",
    "STREAMGAGE_LANES": "`shard`, or `partition_key` where ParallelizationFactor is above 1: with the wrong one events are "
    "lost. The template sets it.",
    "STREAMGAGE_WRITE_CONCURRENCY": "Writes to the table at a time, of one batch: 1 to 64.",
}
OF_HTTP = {
    "STREAMGAGE_STREAM": (
        "must be set",
        "The stream whose shards tell how fresh answers are. The template sets it.",
    ),
    "STREAMGAGE_TABLE": ("must be set", "The table that is asked. The template sets it."),
    "STREAMGAGE_CONSUMER": ("`main`", "Whose rollups of the definition are asked. The template sets it."),
    "STREAMGAGE_PIPELINE": ("`pipeline.toml`", "The definition, in the bundle."),
    "QUARANTINE_QUEUE_URL": ("none", "The queue whose messages `/v1/status` counts. The template sets it."),
    "STREAMGAGE_HTTP_ORIGINS": (
        "none",
        (
            "Origins whose pages may read answers, with commas between: `https://app.example.com`; `*`: any. "
            "[Who may see what](http.md#who-may-see-what)."
        ),
    ),
    "STREAMGAGE_KEYS_CLAIM": (
        "none",
        "The claim of a caller's token that says which keys he sees. [Who may see what](http.md#who-may-see-what).",
    ),
    "CONNECTIONS_TABLE": (
        "none",
        "The table of tickets for the WebSocket API, where that takes them. The template sets it.",
    ),
}
OF_LIVE = {
    "CONNECTIONS_TABLE": ("must be set", "The table of who is connected. The template sets it."),
    "SOCKET_TICKETS": (
        "`false`, of the function that answers",
        "`true`: who connects has a [ticket](http.md#live-updates). The template sets it.",
    ),
    "SOCKET_ENDPOINT": (
        "must be set, of the function that tells",
        "Where messages to connections are sent: the stage of the WebSocket API. The template sets it.",
    ),
    "STREAMGAGE_CONSUMER": ("`main`", "Of whose rollups changes are told. The template sets it."),
    "STREAMGAGE_PIPELINE": ("`pipeline.toml`", "The definition, in the bundle."),
}
OF_COLLECTOR = {
    "STREAM": ("must be set", "The stream that events are put into. The template sets it."),
    "IDEMPOTENCY_TABLE": (
        "must be set",
        "The table that remembers batches by their keys, for two days. The template sets it.",
    ),
    "KEYS_PARAMETER": (
        "none",
        "The SSM parameter with the API keys, as hashes. `streamgage keys` writes it. Without it nobody may send. The template sets it.",
    ),
    "STREAMGAGE_PIPELINE": ("`pipeline.toml`", "The definition, in the bundle."),
    "STREAMGAGE_ONE_KEY_PER_RECORD": (
        "`false`",
        "`true` where ParallelizationFactor is above 1: each record has one partition key. The template sets it.",
    ),
}
OF_COMMANDS = {
    "STREAMGAGE_PIPELINE": ("pipeline.toml", "The definition, where `--pipeline` does not say."),
    "STREAMGAGE_HOME": (".streamgage", "Where a local stack keeps its data and its logs."),
    "STREAMGAGE_HTTP": (
        "",
        "Set by `streamgage env`, with `HTTP`: the address of page and HTTP API. Nothing reads it.",
    ),
    "STREAMGAGE_LIVE": (
        "",
        "Set by `streamgage env`, with `LIVE`: the address of the WebSocket for live updates. Nothing reads it.",
    ),
}
OF_PIPELINE = {
    "sources": {
        "name": "Lower-case letters, digits and `_`.",
        "schema": "An Avro schema, by its path from pipeline.toml. Older ones stay beside it: `reading.*.avsc`.",
        "partition_key": "The field whose value chooses the shard.",
        "event_time": "The field that says when it happened; in Avro, ms since the epoch, in UTC: timestamp-millis, or a "
        "long without a logical type. Another logical type is refused, in older schemas too.",
        "max_future": "Events later than their arrival by more are quarantined.",
        "max_lateness": "Events earlier than their arrival by more are quarantined. Without it, a late event corrects its "
        "window, as long as every rollup of it keeps that.",
        "scale": "Decimal places of a numeric field: `{value = 3}`. Without it 9 for floats, 0 for integers.",
        "derive": 'Fields that are computed of an event, for keys and measures: `{site = "properties.site"}`. '
        "[What they may say](expressions.md).",
        "blocks": "Producers send compressed blocks of events.",
        "time_unit": "The unit of event times that are numbers in JSON and in files: `s`, `ms`, `us` or `ns`. Without it JSON "
        "is in ms, and a number that could be another unit is refused.",
        "from": "What agents put on the stream of it, a table `[[sources.from]]` each: `format` (`influx`, `otlp`, `cloudevents`, "
        "`json`), `match` (which items are meant), `fields` (what of an item goes into which field), of `influx` `time_unit` "
        '(`ns`), and `others = "ignore"` where items that no source takes are passed over and not quarantined. '
        "One more may come beside what counts already; one that is changed or gone is another definition. "
        "[Telegraf, the OpenTelemetry Collector and others in a few lines](formats.md#what-agents-write).",
    },
    "rollups": {
        "name": "Lower-case letters, digits and `_`.",
        "source": "The source that it aggregates.",
        "key": "The fields that it is grouped by, of the schema or derived.",
        "together": "Fields of the key whose values are often asked for alone: keys that share them stand in the same items, so "
        "that a question such as `device_id=d1` reads these and no others. [What it costs](adr/0033-together.md).",
        "where": 'Which events count in it: `"status >= 500"`, by the fields of the schema. [What it may say](expressions.md).',
        "windows": "Sizes of tumbling windows, aligned to the epoch.",
        "keep": "How long after its window an item is deleted. Longer than RetentionHours and MaxRecordAgeSeconds "
        "together. An event that is later than that is quarantined, for the item of its window may be deleted.",
        "consumer": "Who counts it. Rollups of one consumer are fixed together; another name counts beside: see operations.md.",
        "generation": "Another number starts the rollup afresh, beside the old one: after a change of its measures.",
        "measures": "What is computed, by field: `count`, `sum`, `min`, `max`, `mean`, `variance`, `first`, `last`, `delta`, `rate` "
        "exactly; `p50`, `p95`, `p99.9` and the like and `histogram` to 1.1 % of a value; `distinct`, of texts too, with a "
        "standard error of 2.3 %; `sessions`, `bounces`, `bounce_rate`, `session_length`, `session_events` of a key's runs without "
        "30 minutes of pause, or `sessions@10m`; of a text `entry` and `exit`: how many of these runs begin, or end, with which; "
        "`time_weighted_mean` of a signal that holds its value until the next event, exact of 64 different times and with its bound "
        "of more ([why](adr/0032-sketches.md)).",
    },
}
_DEFAULTS = {"from": "none", "blocks": "`false`", "time_unit": "none", "generation": "`1`", "derive": "none", "where": "all", "together": "none", "scale": "by type", "max_future": "none",
             "max_lateness": "none", "measures": "the count of events", "keep": "for ever", "consumer": "`main`"}  # fmt: skip
_HEAD = """# Configuration

Every variable there is. Generated: change infra/commands/configuration.py, then `python -m infra.commands.configuration --write`.
"""


class _Asked(dict[str, str]):
    """An environment that notes what it is asked for, and with which default."""

    def __init__(self) -> None:
        super().__init__()
        self.defaults: dict[str, str] = {}

    def get(self, key: str, default: Any = None) -> Any:
        self.defaults[key] = default
        return default


class _NoFiles:
    def read(self, path: str) -> str:
        raise FileNotFoundError(path)

    def versions(self, path: str) -> list[str]:
        raise FileNotFoundError(path)


def settings_read(read: Callable[[Mapping[str, str]], object] = Settings.of) -> dict[str, str]:
    """Return the variables that a function reads, and their defaults; "" of one that has to be set."""
    asked = _Asked()
    with contextlib.suppress(ConfigError):  # of those without a default
        read(asked)
    return asked.defaults


def keys_known() -> dict[str, set[str]]:
    """Return the keys that pipeline.toml may have: of a source, of a rollup, and at the top ("")."""
    unknown = "no_such_key_of_any_table"
    text = f"{unknown} = 1\n[[sources]]\n{unknown} = 1\n[[rollups]]\n{unknown} = 1\n"
    try:
        parse_pipeline(text, _NoFiles())
    except ConfigError as error:
        problems = [each for each in error.problems if "known are " in each]
    return {
        problem.partition("[")[0] if "[" in problem.partition(":")[0] else "": set(
            problem.partition("known are ")[2].split(", ")
        )
        for problem in problems
    }


def parameters() -> Mapping[str, Mapping[str, Any]]:
    """Return the template's parameters, as it states them."""
    found: Mapping[str, Mapping[str, Any]] = read_template(TEMPLATE)["Parameters"]
    return found


def page() -> str:
    """Return the whole page."""
    return (
        "\n".join(
            [_HEAD, *_pipeline(), *_template(), *_function(), *_http(), *_live(), *_collector(), *_commands()]
        )
        + "\n"
    )


def _pipeline() -> Iterator[str]:
    yield "## pipeline.toml\n\nRead by producers, the function, `deploy`, `lint` and `query`; `streamgage check` reads it over.\n"
    for table, keys in OF_PIPELINE.items():
        yield from _table(
            (f"key of `[[{table}]]`", "default", "what it means"),
            ((f"`{key}`", _DEFAULTS.get(key, "must be set"), text) for key, text in keys.items()),
        )
    yield "`[deploy]` gives values to parameters of the template: `ShardCount = 4`. `[[mqtt]]` says which topics of a broker are which source: [MQTT](mqtt.md).\n"


def _template() -> Iterator[str]:
    yield "## Parameters of the template\n"
    yield (
        "Set them in `[deploy]` of pipeline.toml, or with `--parameter NAME=VALUE` of `deploy`, `diff` and `lint`, or with "
        f"`--param NAME=VALUE` of `up`. On a laptop {_here()} where neither says another value: writes cost nothing there. On AWS "
        "they are what costs most: who wants numbers there as soon says `BatchingWindow=1`, and `streamgage plan "
        "--batching-window-s 1` what that costs.\n"
    )
    yield from _table(
        ("parameter", "default", "values", "what it means"),
        (
            (f"`{name}`", _code(str(each.get("Default", ""))), _values(each), each.get("Description", ""))
            for name, each in parameters().items()
        ),
    )


def _here() -> str:
    return ", ".join(f"`{name}` is `{value}`" for name, value in HERE.items())


def _values(parameter: Mapping[str, Any]) -> str:
    if "AllowedValues" in parameter:
        return ", ".join(str(each) for each in parameter["AllowedValues"])
    if "MinValue" in parameter:
        return f"{parameter['MinValue']} to {parameter['MaxValue']}"
    return _code(parameter["AllowedPattern"]) if "AllowedPattern" in parameter else "any"


def _function() -> Iterator[str]:
    yield "## Environment of the function\n"
    defaults = settings_read()
    yield from _table(
        ("variable", "default", "what it means"),
        (
            (f"`{name}`", f"`{defaults[name]}`" if defaults[name] else "must be set", text)
            for name, text in OF_FUNCTION.items()
        ),
    )


def _http() -> Iterator[str]:
    yield "## Environment of the HTTP function\n"
    yield from _table(
        ("variable", "default", "what it means"),
        ((f"`{name}`", default, text) for name, (default, text) in OF_HTTP.items()),
    )


def _live() -> Iterator[str]:
    yield "## Environment of the functions of live updates\n"
    yield from _table(
        ("variable", "default", "what it means"),
        ((f"`{name}`", default, text) for name, (default, text) in OF_LIVE.items()),
    )


def _collector() -> Iterator[str]:
    yield "## Environment of the collector\n"
    yield from _table(
        ("variable", "default", "what it means"),
        ((f"`{name}`", default, text) for name, (default, text) in OF_COLLECTOR.items()),
    )


def _commands() -> Iterator[str]:
    yield "## Environment of the commands\n"
    yield from _table(
        ("variable", "default", "what it means"),
        ((f"`{name}`", f"`{default}`", text) for name, (default, text) in OF_COMMANDS.items()),
    )
    yield (
        "Commands that call AWS find credentials as boto3 does: `AWS_PROFILE`, `AWS_ACCESS_KEY_ID` and "
        "`AWS_SECRET_ACCESS_KEY`, `~/.aws`, `aws sso login`, or the role of the machine; and the region in `--region`, "
        "`AWS_DEFAULT_REGION` or `~/.aws/config`."
    )


def _table(head: Sequence[str], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        escaped = [cell.replace("|", r"\|") for cell in row]
        yield f"| {' | '.join(escaped)} |"
    yield ""


def _code(text: str) -> str:
    return f"`{text}`" if text else "empty"


def main(arguments: Sequence[str]) -> int:
    """Write the page, or tell whether it is up to date (0) or not (1)."""
    parser = argparse.ArgumentParser(prog="python -m infra.commands.configuration", description=main.__doc__)
    parser.add_argument("--write", action="store_true", help="write the page")
    if parser.parse_args(arguments).write:
        PAGE.write_text(page(), encoding="utf-8")
        return 0
    if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page():
        print(f"{PAGE} is not up to date. Say: python -m infra.commands.configuration --write")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
