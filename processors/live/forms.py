"""An answer in each form that is asked for: JSON with what is to be said of it, or rows alone, what is said in headers."""

import json
from collections.abc import Iterable, Iterator

from processors.live.parameters import MOST_ROWS
from processors.live.problems import Refused
from processors.live.replies import (
    CSV,
    JSON,
    MOST_BYTES,
    NDJSON,
    PARQUET,
    SETTLED_S,
    Reply,
    too_large,
)
from processors.query.render import to_csv, to_ndjson
from processors.query.tables import Result
from streamgage.errors import ConfigError


def reply_of(
    result: Result, form: str, *, now_ms: int, rows: str = "rows", is_limited: bool, is_relative: bool
) -> Reply:
    """Return *result* as *form*; in JSON its rows are called *rows*.

    What a limited caller's question cost tells how many keys he does not see: it is not said. An answer may be kept where
    it is settled and what was asked does not move with the clock.

    Raises:
        Refused: 413, it is too large; 406, this form cannot be made here.
    """
    answer = result.answer
    if len(answer.rows) > MOST_ROWS:
        raise too_large(f"more than {MOST_ROWS:,} rows")
    headers = {
        "Streamgage-Now-Ms": str(now_ms),
        "Streamgage-Left": str(answer.left),
        **({"Streamgage-Applied-Ms": str(result.applied_ms)} if result.applied_ms else {}),
        **({} if is_limited else {"Streamgage-Read-Units": f"{result.read_units:g}"}),
    }
    may_change = "may_change" in answer.names and any(
        row[answer.names.index("may_change")] for row in answer.rows
    )
    settled = result.is_settled and not is_relative and not may_change
    max_age_s = SETTLED_S if settled else None
    if form == PARQUET:
        return Reply(_parquet(result), PARQUET, max_age_s=max_age_s, headers=headers)
    if form == CSV:
        body = _joined(f"{line}\r\n" for line in to_csv(answer))
        return Reply(body, CSV, max_age_s=max_age_s, headers=headers)
    if form == NDJSON:
        body = _joined(f"{line}\n" for line in to_ndjson(answer))
        return Reply(body, NDJSON, max_age_s=max_age_s, headers=headers)
    columns = [{"name": name, "kind": kind} for name, kind in zip(answer.names, answer.kinds, strict=True)]
    head = {} if rows == "keys" else {"columns": columns, "keys": answer.keys}
    same = _joined(
        [
            json.dumps(head)[:-1] + (", " if head else "") + f'"{rows}": [\n',
            *_between(to_ndjson(answer)),
            f'\n], "left": {answer.left}, "errors": {json.dumps(dict(answer.errors))}',
        ]
    )
    about = {
        "freshness": {"applied_ms": result.applied_ms or None, "text": result.freshness},
        "now_ms": now_ms,
        "read_units": None if is_limited else result.read_units,
    }
    return Reply(
        same + b", " + json.dumps(about)[1:].encode(), JSON, same=same, max_age_s=max_age_s, headers=headers
    )


def _parquet(result: Result) -> bytes:
    from processors.query.arrow import parquet_of  # noqa: PLC0415 - few ask for it

    try:
        return parquet_of(result.answer)
    except ConfigError as error:
        raise Refused(
            406, "Parquet is not made here, for this function has no pyarrow: take CSV or NDJSON"
        ) from error


def _between(lines: Iterable[str]) -> Iterator[str]:
    """Yield *lines* with a comma between two."""
    between = ""
    for line in lines:
        yield between + line
        between = ",\n"


def _joined(parts: Iterable[str]) -> bytes:
    """Return *parts* as one, in UTF-8. Raises: Refused, 413, it would be more than is held."""
    found = bytearray()
    for each in parts:
        found += each.encode()
        if len(found) > MOST_BYTES:
            raise too_large(f"more than {MOST_BYTES // 2**20} MB")
    return bytes(found)
