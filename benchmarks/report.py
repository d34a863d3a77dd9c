"""The report: docs/benchmarks.md, its plots and the README's table, made from the results in JSON and nothing else."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT, Headline, Result, Series, Table, figure, read_result
from benchmarks.plots import draw, file_stem
from streamgage.errors import ConfigError

DOCUMENT = ROOT / "docs" / "benchmarks.md"
PLOTS = ROOT / "docs" / "benchmarks"
README = ROOT / "README.md"
BEGIN, END = "<!-- benchmarks: made by `streamgage bench report` -->", "<!-- /benchmarks -->"

# The order of the page: what a user sees and pays, then where it comes from. What is not named comes behind, by name.
ORDER = (
    "pipeline",
    "cost",
    "write_units",
    "query",
    "together",
    "fold",
    "producer",
    "spool",
    "cold_start",
    "http_cold_start",
    "function",
    "scaling",
    "codec",
    "tables",
)

HEAD = """# Benchmarks

Made by `streamgage bench report` from benchmarks/results/*.json; do not edit. How each figure came about stands beside it.

**Reproduce**: `make bench` (sets up the peers, then `streamgage bench all`); one of them: `streamgage bench fold`.
`--quick` compares the answers of all contestants and measures nothing worth reading: that is what CI runs.

**How it is measured.** Contestants take turns, round by round, in one run; a first round is not counted. Figures are the
median of the rounds with least and most beside it, CPU time (of all threads) unless a table says otherwise. After every
turn the answers are compared: a wrong one ends the run. The workload is seeded. Peers are written as their own
documentation shows them, and get less to do where in doubt. Machines differ, and so do runs: trust ratios.
"""


def write_report(results: Path, *, root: Path = ROOT) -> list[Path]:
    """Write the page, the plots and the README's table under *root* from *results*; return what was written.

    Raises:
        ConfigError: there are no results, or the README has no place for the table.
    """
    found = _read(results)
    if not found:
        raise ConfigError(f"no results in {results}: run `streamgage bench all` first")
    document, plots = root / DOCUMENT.relative_to(ROOT), root / PLOTS.relative_to(ROOT)
    plots.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    parts = [HEAD, _headline_table(found), ""]
    for result, around in found:
        parts.append(_section(result, around))
        for table in result.tables:
            path = draw(table, plots / file_stem(result.name, table.title))
            if path is not None:
                written.append(path)
                parts.append(f"![{table.title}, {table.unit}]({plots.name}/{path.name})\n")
    document.write_text("\n".join(parts), encoding="utf-8")
    readme = root / README.relative_to(ROOT)
    readme.write_text(
        with_table(readme.read_text(encoding="utf-8"), _headline_table(found, only_first=True)),
        encoding="utf-8",
    )
    return [document, readme, *written]


def with_table(text: str, table: str) -> str:
    """Return *text* with *table* between the marks. Raises: ConfigError where the marks are not there."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ConfigError(f"README.md has no {BEGIN!r} … {END!r}: nowhere to put the table")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def _read(results: Path) -> list[tuple[Result, Mapping[str, Any]]]:
    found = [read_result(path) for path in sorted(results.glob("*.json"))]
    quick = [result.name for result, around in found if around["quick"]]
    if quick:
        raise ConfigError(f"these results are of quick runs, and mean nothing: {', '.join(quick)}")
    place = {name: number for number, name in enumerate(ORDER)}
    return sorted(found, key=lambda each: (place.get(each[0].name, len(ORDER)), each[0].name))


def _headline_table(found: Iterable[tuple[Result, Mapping[str, Any]]], *, only_first: bool = False) -> str:
    headlines = [each for result, _ in found for each in result.headlines]
    rows = [_row(each) for each in headlines if each.first or not only_first]
    return "\n".join(
        ["| measured | streamgage | beside it | ratio | target |", "|---|---|---|---|---|", *rows]
    )


def _row(headline: Headline) -> str:
    return f"| {headline.what} | {headline.ours} | {headline.peer} | {'' if headline.ratio is None else f'{headline.ratio:.1f}x'} | {headline.target} |"


def _section(result: Result, around: Mapping[str, Any]) -> str:
    machine = around["machine"]
    lines = [f"## {result.name}: {result.question}", "", result.method, ""]
    for table in result.tables:
        lines += [f"**{table.title}** ({table.unit})", "", *_markdown(table), ""]
    lines += [f"- {name}: {_shown(value)}" for name, value in result.facts.items()]
    lines += [f"- not measured: {label}: {reason}" for label, reason in result.missing.items()]
    if result.limits:
        lines += ["", "What these figures do not show:", "", *(f"- {each}" for each in result.limits)]
    state = ", with changes that were not committed" if around["dirty"] else ""
    made = (
        f"{_shown(result.configuration)}. {around['date']} UTC, commit {around['commit'][:12]}{state}, seed "
        f"{around['seed']}; {machine['cpu']}, {machine['cores']} cores, Python {machine['python']}, load average "
        f"{machine['load_average']} at the end."
    )
    lines += ["", f"<sub>{made}</sub>", ""]
    return "\n".join(lines)


def _markdown(table: Table) -> list[str]:
    baseline = table.median_of(table.baseline) if table.baseline else None
    heading = ["", *([table.x] if table.x else []), "median", "min to max"]
    if baseline:
        heading.append(f"x {table.baseline}")
    rows = [_cells(table, each, baseline) for each in table.series]
    rule = ["---", *("---:" for _ in heading[1:])]
    return ["| " + " | ".join(cells) + " |" for cells in (heading, rule, *rows)]


def _cells(table: Table, series: Series, baseline: float | None) -> list[str]:
    point = [] if table.x is None else ["" if series.at is None else f"{series.at:,.0f}"]
    spread = f"{figure(min(series.samples))} to {figure(max(series.samples))}"
    ratio = [f"{series.median / baseline:.2f}"] if baseline else []
    return [series.label, *point, figure(series.median), spread, *ratio]


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{str(name).replace('_', ' ')} {_shown(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value))
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)
