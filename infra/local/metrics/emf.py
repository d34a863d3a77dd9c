"""What the function's log says in EMF lines, added up: on AWS CloudWatch does that, and nobody does on a laptop.

Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
(checked 2026-11-21).
"""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

KEPT_S = 90  # of sums by second: a minute to show, and what is written late
_CHUNK_BYTES = 1 << 20
_MARK = b'"_aws"'  # the metadata object of an EMF line; most lines of a log have none
_FOLLOWED = 3  # files: the one of that name, and those renamed, which their writers may still hold open


class _Follower:
    """One open file, and how far it was read."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        found = os.fstat(self._file.fileno())
        self.identity = (found.st_dev, found.st_ino)
        self._rest = b""

    def lines(self) -> list[bytes]:
        """Return the lines that have ended since the last call; from the start again where the file was cut short."""
        if os.fstat(self._file.fileno()).st_size < self._file.tell():
            self._file.seek(0)
            self._rest = b""
        whole: list[bytes] = []
        while chunk := self._file.read(_CHUNK_BYTES):
            *ended, self._rest = (self._rest + chunk).split(b"\n")
            whole += [line for line in ended if _MARK in line]
        return whole

    def close(self) -> None:
        self._file.close()


class EmfLog:
    """Adds up the metrics in a log file that is still written to. Not thread-safe.

    ``totals`` are the sums of all metrics since the start of the file, and never go down while this object lives: a
    file that was renamed is read on beside the one that took its place, one that was cut short is read again from its
    start (what was written between the last ``read`` and the cut is lost). ``by_second`` holds the sums of the last
    KEPT_S seconds, by the lines' own time. ``batches`` counts EMF lines: the function writes one a batch.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._followers: list[_Follower] = []
        self.totals: Counter[str] = Counter()
        self.by_second: dict[int, Counter[str]] = {}
        self.batches = 0

    def read(self) -> None:
        """Take in what was written since the last call."""
        self._look_for_file()
        for follower in self._followers:
            for line in follower.lines():
                self._add(line)
        horizon = max(self.by_second, default=0) - KEPT_S
        for second in [each for each in self.by_second if each < horizon]:
            del self.by_second[second]

    def close(self) -> None:
        """Let go of the files."""
        while self._followers:
            self._followers.pop().close()

    def _look_for_file(self) -> None:
        try:
            found = self._path.stat()
        except FileNotFoundError:  # not written yet, or renamed with nothing in its place
            return
        if (found.st_dev, found.st_ino) in [each.identity for each in self._followers]:
            return
        self._followers.append(_Follower(self._path))
        if len(self._followers) > _FOLLOWED:
            self._followers.pop(0).close()

    def _add(self, line: bytes) -> None:
        """Add one line up; what only looks like EMF is left out, as CloudWatch leaves it out."""
        try:
            values, second = _values(json.loads(line))
        except (ValueError, KeyError, TypeError):
            return
        self.batches += 1
        self.totals.update(values)
        kept = self.by_second.setdefault(second, Counter())
        kept.update(values)
        kept["batches"] += 1


def _values(document: Any) -> tuple[dict[str, float], int]:
    """Return the metrics of an EMF document, and their second. Raises: KeyError, TypeError where it is none."""
    values: dict[str, float] = {}
    for directive in document["_aws"]["CloudWatchMetrics"]:
        for metric in directive["Metrics"]:
            value = document[metric["Name"]]
            values[metric["Name"]] = float(sum(value)) if isinstance(value, list) else float(value)
    return values, int(document["_aws"]["Timestamp"]) // 1000
