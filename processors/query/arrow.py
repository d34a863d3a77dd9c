"""An answer as an Arrow table: for pandas, polars, DuckDB and Parquet. Needs pyarrow, of the extra ``ask``.

Numbers stay exact: counts are 64-bit integers, decimals are 128-bit decimals of as many places as a column needs. A column
whose numbers take more than 38 digits becomes text, for no number type of Arrow holds them.
"""

import io
from collections.abc import Sequence
from datetime import datetime
from decimal import Context, Decimal
from pathlib import Path
from typing import Any

from processors.query.answer import Answer, Cell
from processors.query.render import number_text
from streamgage.errors import ConfigError

_DIGITS = 38
_WIDE = Context(prec=1_000)  # that of the thread would round to 28 digits
_INT64 = 2**63
_FLAGS = frozenset({"may_change", "partial", "is_exact"})
_TIMES = frozenset({"window_start", "window_end", "last_seen"})


def to_arrow(answer: Answer) -> Any:
    """Return *answer* as a ``pyarrow.Table``.

    Raises:
        ConfigError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
    except ModuleNotFoundError as error:
        raise ConfigError("this needs pyarrow: pip install 'streamgage[ask]'") from error
    columns: list[Sequence[Cell]] = list(zip(*answer.rows, strict=True)) or [() for _ in answer.names]
    arrays = [
        _column(pa, name, column, is_key=at < answer.keys)
        for at, (name, column) in enumerate(zip(answer.names, columns, strict=True))
    ]
    return pa.table(arrays, names=list(answer.names))


def _column(pa: Any, name: str, column: Sequence[Cell], *, is_key: bool) -> Any:
    if is_key:
        return pa.array(column, pa.string())
    if name in _TIMES:
        return pa.array([_instant(each) for each in column], pa.timestamp("ms", tz="UTC"))
    known = [each for each in column if each is not None]
    if name in _FLAGS:
        return pa.array(column, pa.bool_())
    if all(isinstance(each, int) and -_INT64 <= each < _INT64 for each in known):
        return pa.array(
            column, pa.bool_() if known and all(type(each) is bool for each in known) else pa.int64()
        )
    numbers = [None if each is None or isinstance(each, str) else Decimal(each) for each in column]
    places, whole = _room([each for each in numbers if each is not None])
    if places + whole > _DIGITS or any(isinstance(each, str) for each in known):
        return pa.array([None if each is None else number_text(each) for each in column], pa.string())
    return pa.array(numbers, pa.decimal128(max(places + whole, 1), places))


def _instant(cell: Cell) -> datetime | None:
    """Return the time that a cell says; None for one beyond the years that a datetime has."""
    return None if cell is None or str(cell).endswith(" ms") else datetime.fromisoformat(str(cell))


def _room(numbers: Sequence[Decimal]) -> tuple[int, int]:
    """Return how many places behind the point, and before it, all of *numbers* take."""
    places = whole = 0
    for each in numbers:
        _, digits, exponent = _WIDE.normalize(each).as_tuple()
        if not isinstance(exponent, int):
            continue
        places = max(places, -exponent)
        whole = max(whole, len(digits) + exponent)
    return places, max(whole, 0)


def parquet_of(answer: Answer) -> bytes:
    """Return *answer* as a Parquet file. Raises: ConfigError, pyarrow is not installed."""
    table = to_arrow(answer)
    from pyarrow import parquet

    written = io.BytesIO()
    parquet.write_table(table, written, compression="zstd")
    return written.getvalue()


def to_parquet(answer: Answer, path: Path) -> None:
    """Write *answer* as the Parquet file *path*. Raises: ConfigError, it cannot be written."""
    written = parquet_of(answer)
    try:
        path.write_bytes(written)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror})") from error
