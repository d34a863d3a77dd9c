"""``streamgage bench NAME --target aws``: what a deployed stack shows; the cold starts of its function, as Lambda reports them."""

import argparse
from collections.abc import Callable, Sequence

from benchmarks.aws_cold_start import Clients, Report, Target, measure
from benchmarks.aws_pipeline import run as run_pipeline
from benchmarks.harness import Result, Series, Table
from infra.aws.stacks import aws_client, find_stack
from streamgage.errors import ConfigError

ROUNDS, QUICK_ROUNDS = 10, 2
Measure = Callable[[Target, int], Sequence[Report]]


def run(name: str, arguments: argparse.Namespace, *, stack: str, measured: Measure | None = None) -> Result:
    """Measure benchmark *name* of *stack* on AWS.

    The function's unpublished version is invoked, with no records, and its environment changed for the while: what the
    alias serves is left alone.

    Raises:
        ConfigError: the benchmark has no way to AWS, or the stack is not to be found.
        FailedInvocationError, RetryableError: as ``measure`` does.
    """
    if name == "pipeline":
        return run_pipeline(arguments, stack=stack)
    if name != "cold_start":
        raise ConfigError(
            f"{name} runs on this machine only; with --target aws there are: cold_start, pipeline"
        )
    found = find_stack(stack, arguments.region)
    target = Target(function=found.output("FunctionName"))
    if measured is None:
        clients = Clients(
            functions=aws_client("lambda", arguments.region), logs=aws_client("logs", arguments.region)
        )

        def measured(target: Target, count: int) -> Sequence[Report]:
            return measure(clients, target, count=count)

    return result_of(
        measured(target, QUICK_ROUNDS if arguments.quick else ROUNDS), target=target, region=found.region
    )


def result_of(reports: Sequence[Report], *, target: Target, region: str) -> Result:
    """Return what *reports* show; ConfigError where none is of a cold start."""
    cold = [each for each in reports if each.is_cold]
    if not cold:
        raise ConfigError(f"none of {len(reports)} invocations of {target.function} was a cold start")
    series = {
        "Init Duration": [each.init_ms for each in cold if each.init_ms is not None],
        "Restore Duration": [each.restore_ms for each in cold if each.restore_ms is not None],
        "Duration of the first invocation": [each.duration_ms for each in cold],
        "from nothing to the answer": [each.cold_start_ms for each in cold],
        "billed": [each.billed_ms for each in cold],
    }
    return Result(
        name="cold_start_aws",
        question="How long does the deployed function take from nothing to its first answer?",
        method=(
            "Each cold start is forced by a change of the function's environment; times are those of Lambda's REPORT lines, "
            "through Logs Insights. The batch is empty."
        ),
        tables=(
            Table(
                title="Cold start on AWS",
                unit="ms",
                series=tuple(
                    Series(label, "ours", tuple(values)) for label, values in series.items() if values
                ),
            ),
        ),
        configuration={"function": target.function, "region": region, "memory_mb": cold[0].memory_mb},
        facts={
            "cold": len(cold),
            "invocations": len(reports),
            "max_memory_mb": max(each.max_memory_mb for each in cold),
        },
    )
