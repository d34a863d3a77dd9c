"""What a doctor found, as lines of text."""

from collections.abc import Iterator, Sequence

from infra.local.doctor.report import Look, Report

_COLUMNS = ("read", "files", "bytes", "holds", "found")


def lines_of(report: Report, given_up: Sequence[str]) -> Iterator[str]:
    """Yield a table of what was read, then what is damaged, what is worth to know, and what was given up before."""
    rows = [_COLUMNS, *map(_row, report.looks)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    for row in rows:
        cells = (
            cell.rjust(width) if column in (1, 2) else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()
    for damage in report.damages:
        yield f"damaged: {damage.what}.{f' {damage.todo}.' if damage.todo else ''}"
    for note in report.notes:
        yield f"note: {note}."
    for line in given_up:
        yield f"given up {line}."
    if not report.damages:
        running = ", of a stack that runs, as it is now" if report.is_running else ""
        yield f"nothing is damaged{running}"


def _row(look: Look) -> tuple[str, ...]:
    found = f"{look.damages} damaged" if look.damages else "whole"
    return (look.subject, str(look.files), f"{look.size_bytes:,}", look.entries, found)
