"""``streamgage bench``: run benchmarks, write their results, make the report."""

import argparse
import importlib
import importlib.util
import pkgutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, cast

from rich.table import Table as RichTable

import benchmarks
from benchmarks.harness import RESULTS, Progress, Result, Table, figure, write_result
from infra.commands.arguments import add_stack_options, aws_stack
from producers.screen import Screen
from streamgage.errors import ConfigError

EXAMPLES = """examples:
  streamgage bench --list
  streamgage bench fold
  streamgage bench all --quick            answers are compared, figures mean nothing
  streamgage bench cold_start --target aws --stack plant-7     Lambda's own REPORT lines; costs a few cents
  streamgage bench pipeline --target aws --stack plant-7       says first what it costs
  streamgage bench report                 docs/benchmarks.md, plots and the README's table, from the results"""
DEFAULT_SEED = 20_260_101


class Benchmark(Protocol):
    """A module that answers one question."""

    QUESTION: str

    def run(self, *, quick: bool, seed: int, progress: Progress) -> Result:
        """Measure; compare the answers of all contestants.

        Raises:
            WrongAnswerError: they differ.
        """


def find_benchmarks() -> dict[str, Benchmark]:
    """Return every module of this package that has ``QUESTION`` and ``run``, by name."""
    modules = [each.name for each in pkgutil.iter_modules(benchmarks.__path__) if not each.ispkg]
    loaded = {name: load_benchmark(name) for name in modules if not name.startswith("_")}
    return {name: module for name, module in loaded.items() if module is not None}


def load_benchmark(name: str) -> Benchmark | None:
    """Return the benchmark *name*; None where this package has no such module, or it is none."""
    if importlib.util.find_spec(f"benchmarks.{name}") is None:
        return None
    module = importlib.import_module(f"benchmarks.{name}")
    return cast("Benchmark", module) if hasattr(module, "QUESTION") and hasattr(module, "run") else None


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``bench``."""
    parser = commands.add_parser(
        "bench",
        help="measure throughput, cold start, freshness and cost, beside what people use instead",
        description="Run benchmarks. Each compares the answers of all contestants, and fails where they differ.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", nargs="?", help="a benchmark, 'all', or 'report'")
    parser.add_argument(
        "--list", action="store_true", help="show the benchmarks and the questions they answer"
    )
    parser.add_argument("--quick", action="store_true", help="tiny and once: correctness, not speed")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the JSON goes (benchmarks/results)")
    add_stack_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked for; a quick run writes results only where ``--out`` says."""
    console = Screen()
    if arguments.name == "report":
        from benchmarks.report import write_report  # noqa: PLC0415 - matplotlib takes a second to load

        for path in write_report(arguments.out or RESULTS):
            print(path)
        return 0
    if arguments.list or arguments.name is None:
        for name, module in find_benchmarks().items():
            console.print(f"{name:12} {module.QUESTION}")
        return 0
    stack = aws_stack(arguments)
    if stack is not None:
        from benchmarks.aws_target import run as run_on_aws  # noqa: PLC0415 - boto3: nothing else here needs it

        result = run_on_aws(arguments.name, arguments, stack=stack)
        show(result, console)
        directory = arguments.out or RESULTS
        console.print(
            f"result: {write_result(result, directory, seed=arguments.seed, quick=arguments.quick)}"
        )
        return 0
    chosen = _chosen(arguments.name)
    directory = arguments.out or (None if arguments.quick else RESULTS)
    for name, module in chosen.items():
        run_one(name, module, arguments, console=console, directory=directory)
    return 0


def _chosen(name: str) -> dict[str, Benchmark]:
    if name == "all":
        return find_benchmarks()
    module = load_benchmark(name) if name.isidentifier() else None
    if module is None:
        known = ", ".join(find_benchmarks())
        raise ConfigError(f"no benchmark is called {name!r}; there are: {known}, all, report")
    return {name: module}


def run_one(
    name: str,
    benchmark: Benchmark,
    arguments: argparse.Namespace,
    *,
    console: Screen,
    directory: Path | None,
) -> Result:
    """Run one benchmark, show what it found, and write it to *directory*."""
    console.rule(f"{name}: {benchmark.QUESTION}")
    began_s = time.monotonic()
    with console.status("") as status:
        result = benchmark.run(
            quick=arguments.quick, seed=arguments.seed, progress=_teller(status.update, name)
        )
    show(result, console)
    took_s = time.monotonic() - began_s
    where = (
        "not written"
        if directory is None
        else write_result(result, directory, seed=arguments.seed, quick=arguments.quick)
    )
    console.print(f"{took_s:.1f} s; result: {where}")
    return result


def _teller(update: Callable[[str], None], name: str) -> Progress:
    return lambda what: update(f"{name}: {what}")


def show(result: Result, console: Screen) -> None:
    """Print the tables of *result*, and what was not measured."""
    for table in result.tables:
        console.print(_rich_table(table))
    for label, reason in result.missing.items():
        console.print(f"not measured: {label}: {reason}", style="yellow")


def _rich_table(table: Table) -> RichTable:
    shown = RichTable(title=f"{table.title}: {table.unit}", title_justify="left")
    shown.add_column("")
    if table.x:
        shown.add_column(table.x, justify="right")
    baseline = table.median_of(table.baseline) if table.baseline else None
    for heading in ("median", "min - max", *(["ratio"] if baseline else [])):
        shown.add_column(heading, justify="right")
    for each in table.series:
        point = [] if table.x is None else [f"{each.at:,.0f}" if each.at is not None else ""]
        spread = f"{figure(min(each.samples))} - {figure(max(each.samples))}"
        ratio = [f"{each.median / baseline:.2f}"] if baseline else []
        shown.add_row(each.label, *point, figure(each.median), spread, *ratio)
    return shown
