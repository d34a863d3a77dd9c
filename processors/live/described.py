"""What can be asked, and how the stack is: the replies that are not answers to questions."""

import json
from typing import Any

from processors.live.replies import Reply
from processors.query.freshness import Freshness
from processors.query.shape import columns_of
from streamgage.definition.pipeline import Pipeline, Rollup
from streamgage.measures.named import find_measure


def rollup_told(rollup: Rollup) -> dict[str, Any]:
    """Return what can be asked of *rollup*."""
    columns = []
    for column in columns_of(rollup):
        measure = None if column.field is None else find_measure(column.measure)
        error = measure.error if measure else ""
        kind = "number" if column.is_number else "json"
        columns.append({"name": column.name, "kind": kind, "error": error or None})
    return {
        "name": rollup.name,
        "source": rollup.source,
        "key": list(rollup.key),
        "windows": [each.label for each in rollup.windows],
        "columns": columns,
    }


def rollups_reply(pipeline: Pipeline, fresh: Freshness, *, consumer: str, now_ms: int) -> Reply:
    """Return all rollups of *pipeline*, and how fresh they are."""
    same = {"rollups": [rollup_told(each) for each in pipeline.rollups.values()], "consumer": consumer}
    now = {
        "now_ms": now_ms,
        "applied_ms": fresh.applied_ms or None,
        "freshness": fresh.describe(now_ms),
    }
    return _moving(same, now)


def status_reply(fresh: Freshness, quarantined: int | None, *, now_ms: int) -> Reply:
    """Return how far everything is applied, and what is in quarantine."""
    applied_ms = fresh.applied_ms or None
    same = {"applied_ms": applied_ms, "quarantined": {"messages": quarantined}}
    now = {
        "now_ms": now_ms,
        "behind_ms": None if applied_ms is None else max(now_ms - applied_ms, 0),
        "freshness": fresh.describe(now_ms),
    }
    return _moving(same, now)


def _moving(same: dict[str, Any], now: dict[str, Any]) -> Reply:
    """Return both as one: only *same* makes a difference."""
    return Reply.json({**same, **now}, same=json.dumps(same).encode())
