"""Answers that are kept for a moment: many open pages ask one question, and each says how old its answer may be.

Nobody is told what is older than he takes: only a request with ``Cache-Control: max-age`` (RFC 9111, 5.2.1.1) gets what was
answered to another, and ``Age`` says so.
"""

import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace

from processors.live.replies import Reply

KEPT_S = 0.5  # a page asks every 2 s: what it shows is that much older at most
_MOST = 64
_MOST_BYTES = 256 * 1024  # an answer: all are 16 MB at most
_MAX_AGE = re.compile(r'max-age\s*=\s*"?([0-9]{1,9})"?')
_ANEW = re.compile(r"no-cache|no-store")


@dataclass(slots=True)
class KeptAnswers:
    """The last answers of one sandbox. *clock* is in seconds, and never goes back."""

    clock: Callable[[], float]
    _kept: dict[Hashable, tuple[float, Reply]] = field(default_factory=dict)

    def find(self, question: Hashable, headers: Mapping[str, str]) -> Reply | None:
        """Return what was answered to *question*, if it is as young as *headers* ask for."""
        kept = self._kept.get(question)
        if kept is None:
            return None
        age_s = self.clock() - kept[0]
        if age_s > min(_max_age_s(headers), KEPT_S):
            return None
        return replace(kept[1], headers={**kept[1].headers, "Age": str(int(age_s))})

    def keep(self, question: Hashable, reply: Reply) -> None:
        """Keep *reply* for others; of too many the oldest are forgotten."""
        self._kept.pop(question, None)
        if len(reply.body) > _MOST_BYTES:
            return
        self._kept[question] = (self.clock(), reply)
        while len(self._kept) > _MOST:
            del self._kept[next(iter(self._kept))]


def _max_age_s(headers: Mapping[str, str]) -> float:
    """Return how old an answer a request takes, in seconds; less than none where it does not say."""
    wanted = headers.get("cache-control", "").lower()
    found = None if _ANEW.search(wanted) else _MAX_AGE.search(wanted)
    return -1 if found is None else int(found[1])
