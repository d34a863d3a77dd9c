"""What others put before a server's line: syslog, journald, Docker, Kubernetes. It is cut off, and never read.

Source: RFC 3164 and RFC 5424 (syslog), https://github.com/kubernetes/design-proposals-archive (CRI logs).
"""

import re
from typing import NamedTuple

from producers.files.access.json_lines import json_object

_ISO = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2})"
_TAG = r"[A-Za-z0-9_./-]{1,64}(?:\[[0-9]{1,10}\])?: "
_PREFIXES = (
    (
        "syslog",
        re.compile(rf"(?:<[0-9]{{1,3}}>)?[A-Z][a-z]{{2}} [ 0-3][0-9] [0-9:]{{8}} (?:\S{{1,255}} )?{_TAG}"),
    ),
    ("syslog", re.compile(rf"(?:<[0-9]{{1,3}}>)?{_ISO} \S{{1,255}} {_TAG}")),
    (
        "syslog",
        re.compile(
            rf"<[0-9]{{1,3}}>1 (?:{_ISO}|-) \S{{1,255}} \S{{1,48}} \S{{1,128}} \S{{1,32}} (?:-|\[[^\]]++\]) (?:\ufeff)?"
        ),
    ),
    ("container", re.compile(rf"{_ISO} (?:stdout|stderr) [FP] ")),
    ("container", re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127} *+\| ")),
    ("container", re.compile(r"\[pod/[A-Za-z0-9./-]{1,253}\] ")),
)


class Inner(NamedTuple):
    """A line without what stood before it, and what that was (None: nothing)."""

    text: str
    prefix: str | None


def cut_prefix(text: str) -> Inner:
    """Return *text* without the prefix of a log shipper, where it has one."""
    for name, pattern in _PREFIXES:
        if match := pattern.match(text):
            return Inner(text[match.end() :], name)
    if '"log"' in text and (entry := json_object(text)) is not None:  # Docker's json-file
        inner = entry.get("log")
        if isinstance(inner, str) and "stream" in entry:
            return Inner(inner, "container")
    return Inner(text, None)
