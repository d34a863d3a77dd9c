"""Wide files, one metric a column: each row becomes a row a metric."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from producers.files.mapping import Cells
from producers.files.rows import AnyRow, Row
from streamgage.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Melt:
    """``metric=value``: the name of a column fills one field, its cell the other."""

    name_field: str
    value_field: str

    @classmethod
    def parse(cls, text: str) -> "Melt":
        """Return what *text* says. Raises: ConfigError."""
        name, equals, value = text.partition("=")
        if not (name and equals and value) or name == value:
            raise ConfigError(f"--melt {text}: write --melt NAME_FIELD=VALUE_FIELD, such as metric=value")
        return cls(name, value)


@dataclass(frozen=True, slots=True)
class Melted:
    """The columns that a mapping sees, and the rows under them."""

    columns: tuple[str, ...]
    metrics: tuple[str, ...]
    rows: Iterator[AnyRow]


def melt_rows(
    rows: Iterator[AnyRow],
    columns: Sequence[str],
    melt: Melt,
    *,
    kept: Collection[str],
    left_out: Collection[str],
    cells: Cells,
    notes: Counter[str],
) -> Melted:
    """Return *rows* with one row a metric: a column that is not *kept* beside them, nor *left_out*.

    An empty cell, or one that marks a missing value, makes none; ``notes`` counts them.

    Raises:
        ConfigError: no column is left, two have one name, or a column is called like a field that is filled here.
    """
    metrics = tuple(each for each in columns if each and each not in kept and each not in left_out)
    if not metrics:
        raise ConfigError(f"--melt: no column is left to be a metric; the columns are {', '.join(columns)}")
    problems = [
        f"--melt: two columns are named {each!r}" for each in metrics if list(columns).count(each) > 1
    ]
    problems += [
        f"--melt: the file has a column {each!r}, which --melt would fill from the names of the others"
        for each in (melt.name_field, melt.value_field)
        if each in kept
    ]
    if problems:
        raise ConfigError(*dict.fromkeys(problems))
    return Melted(
        (*(each for each in columns if each in kept), melt.name_field, melt.value_field),
        metrics,
        _melted(rows, metrics, melt, kept=kept, cells=cells, notes=notes),
    )


def _melted(
    rows: Iterator[AnyRow],
    metrics: Sequence[str],
    melt: Melt,
    *,
    kept: Collection[str],
    cells: Cells,
    notes: Counter[str],
) -> Iterator[AnyRow]:
    for row in rows:
        if not isinstance(row, Row):
            yield row
            continue
        beside = {name: value for name, value in row.values.items() if name in kept}
        for metric in metrics:
            cell = row.values[metric]
            if isinstance(cell, str) and (not cell.strip() or cells.is_missing(cell.strip(), is_number=True)):
                notes["missing values"] += 1
                continue
            values = {**beside, melt.name_field: metric, melt.value_field: cell}
            yield replace(row, values=values, about=f"column {metric!r}: ")
