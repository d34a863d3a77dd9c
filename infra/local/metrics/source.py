"""Read what a local stack measures: its function's log, its mapping's status file, and the emulators."""

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from infra.local.http.secret import Credentials
from infra.local.metrics.emf import EmfLog
from infra.local.metrics.families import Reading
from infra.local.stack.clients import watching_client
from infra.local.stack.home import Home, StackInfo, is_running, read_json
from processors.query.cells import DynamoPartialStore
from processors.query.freshness import freshness
from processors.query.progress import read_progress

_GONE_S = 2.0  # an emulator that does not answer is asked again after this long

Connect = Callable[[str, str, Credentials], Any]
T = TypeVar("T")


class StackReader:
    """Reads the stack of a home, which may be starting, running or gone. Not thread-safe.

    *connect* makes a client of (service, endpoint, credentials). What does not answer is left out of the reading.
    """

    def __init__(self, home: Home, *, connect: Connect = watching_client) -> None:
        self._home, self._connect = home, connect
        self.emf = EmfLog(home.logs / "function.log")
        self._clients: dict[tuple[str, str], Any] = {}
        self._not_before: dict[str, float] = {}

    def read(self) -> Reading:
        """Return what is known now."""
        self.emf.read()
        raw = read_json(self._home.info_file)
        info = StackInfo(**raw) if raw is not None else None
        status = self._home.status() if info is not None else {}
        depth = self._ask(info, "sqs", "aws", _quarantine_depth)
        return Reading(
            alive={name: is_running(raw, name) for name in info.pids} if info else {},
            emf=self.emf.totals,
            batches=self.emf.batches,
            status=status,
            applied_ms=self._ask(
                info, "dynamodb", "dynamodb", lambda client, of: _applied(client, of, status)
            )
            or {},
            quarantine_depth=depth,
            failed_batches=self._ask(info, "s3", "aws", _failed_batches),
            open_shards=self._ask(info, "kinesis", "kinesis", _open_shards),
            now_ms=time.time_ns() // 1_000_000,
        )

    def close(self) -> None:
        """Let go of the log."""
        self.emf.close()

    def _ask(
        self, info: StackInfo | None, service: str, role: str, what: Callable[[Any, StackInfo], T]
    ) -> T | None:
        if info is None or time.monotonic() < self._not_before.get(service, 0):
            return None
        key = (service, info.endpoints[role])
        if key not in self._clients:
            self._clients[key] = self._connect(*key, info.credentials)
        try:
            return what(self._clients[key], info)
        except (BotoCoreError, ClientError):
            self._not_before[service] = time.monotonic() + _GONE_S
            return None


def _quarantine_depth(sqs: Any, info: StackInfo) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found: Mapping[str, str] = sqs.get_queue_attributes(QueueUrl=info.quarantine_url, AttributeNames=names)[
        "Attributes"
    ]
    return sum(int(found.get(name, 0)) for name in names)


def _failed_batches(s3: Any, info: StackInfo) -> int:
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=info.failed_batches_bucket,
        Prefix="aws/lambda/",  # beside them is quarantine/
    )
    return sum(page.get("KeyCount", 0) for page in pages)


def _open_shards(kinesis: Any, info: StackInfo) -> int:
    summary = kinesis.describe_stream_summary(StreamName=info.stream)["StreamDescriptionSummary"]
    return int(summary["OpenShardCount"])


def _applied(dynamodb: Any, info: StackInfo, status: Mapping[str, Any]) -> Mapping[str, int]:
    progress = read_progress(DynamoPartialStore(dynamodb, info.table), info.consumer, info.stream)
    return freshness(progress, status, by_key=info.one_key_per_record).shards
