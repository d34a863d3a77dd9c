"""What changed in a table, by nothing but the keys of its items: which windows of which rollups. Pure.

News is a hint and never the truth: it says what to ask for again, and a client that heard none asks by itself.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from streamgage.definition.pipeline import Pipeline
from streamgage.fold.items import ItemKey, window_start_ms

_CHUNK = re.compile(r"0|[1-9][0-9]{0,18}\.(?:0|[1-9][0-9]{0,18})")  # fold/items.py: chunk_name
_SORT = re.compile(r"[0-9]{15}\|.+", re.DOTALL)  # fold/items.py: sort_key
_WRITTEN = frozenset({"INSERT", "MODIFY"})


class WindowSize(NamedTuple):
    """The windows of one size of a rollup, as both are called."""

    rollup: str
    window: str


class Span(NamedTuple):
    """From the start of the first window that changed to the end of the last one, ms since 1970."""

    from_ms: int
    to_ms: int


News = Mapping[WindowSize, Span]


class Windows:
    """The windows that a definition has now, found by the keys of their items. Items of other generations are none of them."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._known = {
            f"{rollup.name}.{rollup.generation}|{windows.label}": (
                WindowSize(rollup.name, windows.label),
                windows.size_ms,
            )
            for rollup in pipeline.rollups.values()
            for windows in rollup.windows
        }

    def changed(self, keys: Iterable[ItemKey]) -> dict[WindowSize, Span]:
        """Return which windows the items at *keys* are of. What is no window (the progress of a lane) is passed over."""
        news: dict[WindowSize, Span] = {}
        for key in keys:
            which, _, chunk = key.pk.rpartition("|")
            known = self._known.get(which)
            if known is None or not _CHUNK.fullmatch(chunk) or not _SORT.fullmatch(key.sk):
                continue
            size, size_ms = known
            start_ms = window_start_ms(key.sk)
            if start_ms % size_ms == 0:
                there = news.get(size, Span(start_ms, start_ms + size_ms))
                news[size] = Span(min(there.from_ms, start_ms), max(there.to_ms, start_ms + size_ms))
        return news


def written_keys(event: Any) -> Iterator[ItemKey]:
    """Yield the keys of what was written, by the *event* of a DynamoDB stream; what cannot be read is no news.

    What was removed is none either: DynamoDB removes windows that are not kept any more, at any time later.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html (the event)
    """
    records = event.get("Records") if isinstance(event, dict) else None
    for record in records if isinstance(records, list) else ():
        try:
            if record["eventName"] in _WRITTEN:
                keys = record["dynamodb"]["Keys"]
                pk, sk = keys["pk"]["S"], keys["sk"]["S"]
                if isinstance(pk, str) and isinstance(sk, str):
                    yield ItemKey(pk, sk)
        except (KeyError, TypeError):
            continue


def news_text(news: News, now_ms: int) -> str:
    """Return the message that tells *news*: an entry a rollup and window size."""
    changed = [
        {"rollup": size.rollup, "window": size.window, "from_ms": span.from_ms, "to_ms": span.to_ms}
        for size, span in sorted(news.items())
    ]
    return json.dumps({"changed": changed, "now_ms": now_ms}, separators=(",", ":"))
