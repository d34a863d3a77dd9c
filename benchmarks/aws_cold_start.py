"""Cold starts on AWS itself: force them by a configuration change, read them from REPORT lines by Logs Insights.

Sources (checked 2026-11-21): https://docs.aws.amazon.com/lambda/latest/dg/python-logging.html (the REPORT line),
https://docs.aws.amazon.com/lambda/latest/dg/snapstart-monitoring.html (Restore Duration; Init Duration is then in
INIT_REPORT), https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html (platform.report, which is what
the line is where the function's log format is JSON).
"""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streamgage.errors import RetryableError, StreamgageError

MARK = "STREAMGAGE_COLD_START"  # the variable whose change forces a cold start; nobody reads it
QUERY = (
    'fields @message | filter @message like /^REPORT RequestId/ or @message like /"platform.report"/ '
    "| sort @timestamp asc | limit 10000"
)
_PATIENCE_S = 300
_PAUSE_S = 2
_PAIR = re.compile(r"([A-Z][A-Za-z]*(?: [A-Z][A-Za-z]*)*):\s+(\S+)(?: (?:ms|MB)\b)?")


class FailedInvocationError(StreamgageError):
    """The function failed: its times say nothing of a cold start that works."""

    code = "failed_invocation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What Lambda says of one invocation. None: the line does not have it, as of a warm sandbox.

    ``init_ms`` is of a cold start without SnapStart, ``restore_ms`` of one with it. ``error`` is "" where all went well,
    else the status ("timeout", "error"), and the type of error where it is named.
    """

    request_id: str
    duration_ms: float
    billed_ms: float
    memory_mb: int
    max_memory_mb: int
    init_ms: float | None = None
    restore_ms: float | None = None
    billed_restore_ms: float | None = None
    error: str = ""

    @property
    def is_cold(self) -> bool:
        """Whether the sandbox was started, or restored, for this invocation."""
        return self.init_ms is not None or self.restore_ms is not None

    @property
    def cold_start_ms(self) -> float:
        """The time from nothing to the answer: "the sum of Restore Duration + Duration", or with Init Duration."""
        return (self.init_ms or 0.0) + (self.restore_ms or 0.0) + self.duration_ms


def parse_report(message: str) -> Report | None:
    """Return what a log *message* reports, a line of text or a JSON record; None where it is no report."""
    text = message.strip()
    if text.startswith("{"):
        return _of_json(text)
    if not text.startswith("REPORT RequestId:"):
        return None
    found = dict(_PAIR.findall(text.removeprefix("REPORT ")))

    def ms(name: str) -> float | None:
        return float(found[name]) if name in found else None

    return Report(
        request_id=found["RequestId"],
        duration_ms=float(found["Duration"]),
        billed_ms=float(found["Billed Duration"]),
        memory_mb=int(found["Memory Size"]),
        max_memory_mb=int(found["Max Memory Used"]),
        init_ms=ms("Init Duration"),
        restore_ms=ms("Restore Duration"),
        billed_restore_ms=ms("Billed Restore Duration"),
        error=_error(found.get("Status", ""), found.get("Error Type", "")),
    )


def _of_json(text: str) -> Report | None:
    content = json.loads(text)
    if content.get("type") != "platform.report":
        return None
    record = content["record"]
    metrics = record["metrics"]
    return Report(
        request_id=record["requestId"],
        duration_ms=metrics["durationMs"],
        billed_ms=metrics["billedDurationMs"],
        memory_mb=metrics["memorySizeMB"],
        max_memory_mb=metrics["maxMemoryUsedMB"],
        init_ms=metrics.get("initDurationMs"),
        restore_ms=metrics.get("restoreDurationMs"),
        billed_restore_ms=metrics.get("billedRestoreDurationMs"),
        error=_error(record.get("status", ""), record.get("errorType", "")),
    )


def _error(status: str, kind: str) -> str:
    return "" if status in {"", "success"} else f"{status} {kind}".rstrip()


def reports_of(results: Sequence[Sequence[Mapping[str, str]]]) -> Iterator[Report]:
    """Yield the reports among the *results* of ``QUERY``, rows of {"field": …, "value": …}."""
    for row in results:
        for column in row:
            if column["field"] == "@message" and (report := parse_report(column["value"])):
                yield report


@dataclass(frozen=True, slots=True, kw_only=True)
class Clients:
    """boto3's clients, and how to wait."""

    functions: Any  # of "lambda"
    logs: Any
    sleep: Callable[[float], None] = time.sleep
    now_s: Callable[[], float] = time.time


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A deployed function. *payload* is what it is invoked with; the aggregate function takes ``{"Records": []}``.

    With *snap_start* each cold start is of a newly published version, of which Lambda takes a snapshot.
    """

    function: str
    payload: bytes = b'{"Records": []}'
    snap_start: bool = False


def measure(clients: Clients, target: Target, *, count: int) -> list[Report]:
    """Force *count* cold starts of *target*, and return what Lambda reported of each, in order.

    The function's configuration is changed for the while, and put back. A few cents.

    Raises:
        FailedInvocationError: an invocation failed.
        RetryableError: AWS took too long over a change, or over the logs.
    """
    configuration = clients.functions.get_function_configuration(FunctionName=target.function)
    variables = configuration.get("Environment", {}).get("Variables", {})
    began_s = int(clients.now_s())
    asked: list[str] = []
    try:
        for number in range(count):
            _configure(clients, target, {**variables, MARK: f"{began_s}-{number}"})
            asked.append(_invoke(clients, target))
    finally:
        _configure(clients, target, variables)
    return _reports(clients, configuration, asked, began_s=began_s)


def _configure(clients: Clients, target: Target, variables: Mapping[str, str]) -> None:
    clients.functions.update_function_configuration(
        FunctionName=target.function, Environment={"Variables": dict(variables)}
    )
    _await(
        clients,
        f"the update of {target.function}",
        lambda: clients.functions.get_function_configuration(FunctionName=target.function),
        lambda found: found["LastUpdateStatus"] == "Successful",
    )


def _invoke(clients: Clients, target: Target) -> str:
    """Invoke once, and return the request id."""
    at = {"FunctionName": target.function}
    if target.snap_start:
        at["Qualifier"] = clients.functions.publish_version(FunctionName=target.function)["Version"]
        _await(
            clients,
            f"the snapshot of {target.function}:{at['Qualifier']}",
            lambda: clients.functions.get_function_configuration(**at),
            lambda found: found["State"] == "Active",
        )
    answer = clients.functions.invoke(**at, Payload=target.payload)
    if "FunctionError" in answer:
        raise FailedInvocationError(
            f"{target.function}: {answer['Payload'].read().decode('utf-8', 'replace')[:500]}"
        )
    request_id: str = answer["ResponseMetadata"]["RequestId"]
    return request_id


def _reports(
    clients: Clients, configuration: Mapping[str, Any], asked: Sequence[str], *, began_s: int
) -> list[Report]:
    """Ask Logs Insights until it knows of every invocation: lines take a while to be found."""
    group = (
        configuration.get("LoggingConfig", {}).get("LogGroup")
        or f"/aws/lambda/{configuration['FunctionName']}"
    )

    def query() -> dict[str, Report]:
        started = clients.logs.start_query(
            logGroupName=group, startTime=began_s, endTime=int(clients.now_s()) + 60, queryString=QUERY
        )
        done = _await(
            clients,
            f"a query of {group}",
            lambda: clients.logs.get_query_results(queryId=started["queryId"]),
            lambda found: found["status"] not in {"Scheduled", "Running", "Unknown"},
        )
        if done["status"] != "Complete":
            raise RetryableError(f"the query of {group} ended as {done['status']}")
        return {each.request_id: each for each in reports_of(done["results"])}

    found = _await(clients, f"the REPORT lines in {group}", query, lambda found: found.keys() >= set(asked))
    return [found[each] for each in asked]


def _await(clients: Clients, what: str, look: Callable[[], Any], is_done: Callable[[Any], bool]) -> Any:
    deadline_s = clients.now_s() + _PATIENCE_S
    while not is_done(found := look()):
        if clients.now_s() > deadline_s:
            raise RetryableError(f"{what} took more than {_PATIENCE_S} s")
        clients.sleep(_PAUSE_S)
    return found
