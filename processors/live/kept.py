"""Answers that are kept for a moment: many open pages ask one question, and each says how old its answer may be.

Nobody is told what is older than he takes: only a request with ``Cache-Control: max-age`` (RFC 9111, 5.2.1.1) gets what was
answered to another, and ``Age`` says so. Who was told of a change says when, by ``Streamgage-Since-Ms`` (ms since 1970, of the
news): he gets no answer that was begun before.
"""

import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from math import inf

from processors.live.replies import Reply

KEPT_S = 0.5  # a page asks every 2 s: what it shows is that much older at most
_MOST = 64
_MOST_BYTES = 256 * 1024  # an answer: all are 16 MB at most
_MAX_AGE = re.compile(r'max-age\s*=\s*"?([0-9]{1,9})"?')
_ANEW = re.compile(r"no-cache|no-store")
_SINCE = re.compile(r"[0-9]{1,15}")


@dataclass(slots=True)
class KeptAnswers:
    """The last answers of one sandbox. *clock* is in seconds, and never goes back."""

    clock: Callable[[], float]
    _kept: dict[Hashable, tuple[float, int, Reply]] = field(default_factory=dict)

    def find(self, question: Hashable, headers: Mapping[str, str]) -> Reply | None:
        """Return what was answered to *question*, if it is as young as *headers* ask for."""
        kept = self._kept.get(question)
        if kept is None:
            return None
        at_s, begun_ms, reply = kept
        age_s = self.clock() - at_s
        if age_s > min(_max_age_s(headers), KEPT_S) or begun_ms < _since_ms(headers):
            return None
        return replace(reply, headers={**reply.headers, "Age": str(int(age_s))})

    def keep(self, question: Hashable, reply: Reply, *, begun_ms: int) -> None:
        """Keep *reply*, begun before anything of it was read, for others; of too many the oldest are forgotten."""
        self._kept.pop(question, None)
        if len(reply.body) > _MOST_BYTES:
            return
        self._kept[question] = (self.clock(), begun_ms, reply)
        while len(self._kept) > _MOST:
            del self._kept[next(iter(self._kept))]


def _max_age_s(headers: Mapping[str, str]) -> float:
    """Return how old an answer a request takes, in seconds; less than none where it does not say."""
    wanted = headers.get("cache-control", "").lower()
    found = None if _ANEW.search(wanted) else _MAX_AGE.search(wanted)
    return -1 if found is None else int(found[1])


def _since_ms(headers: Mapping[str, str]) -> float:
    """Return before when an answer that a request takes must not have been begun; what is no instant takes none."""
    text = headers.get("streamgage-since-ms", "0")
    return int(text) if _SINCE.fullmatch(text) else inf
