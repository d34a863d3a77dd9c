"""``streamgage bench pipeline --target aws``: the load of `streamgage load` on a deployed stack, and how fresh its table is."""

import argparse
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from benchmarks.harness import Result, Series, Table, WrongAnswerError
from infra.commands import load
from infra.commands.world import real_world
from infra.load.run import Campaign, Look, Outcome, run_load
from infra.load.senders import Senders
from producers.files.stop import Stop
from streamgage.errors import RetryableError

RATE_PER_S, SECONDS, DEVICES = 5_000, 120, 15_000
QUICK_RATE_PER_S, QUICK_SECONDS, QUICK_DEVICES = 200, 10, 100


@dataclass(slots=True)
class Looks:
    """A teller that keeps how far behind the table was, while events were sent."""

    behind_ms: list[float] = field(default_factory=list)

    def ready(self, senders: Senders) -> None:
        """Keep nothing of it."""

    def look(self, look: Look) -> None:
        """Take note of a look, once for each time that the table was asked."""
        behind = look.applied_behind_ms
        if look.phase == "sending" and behind is not None:
            self.behind_ms.append(behind)


Run = Callable[[Campaign, Looks], Outcome]


def run(arguments: argparse.Namespace, *, stack: str, measured: Run | None = None) -> Result:
    """Send a steady load to *stack*, and compare every total. It costs about what it says first.

    Raises:
        WrongAnswerError: a total is not what was sent.
        ConfigError, RetryableError: as ``streamgage load`` does.
    """
    world, looks = real_world(), Looks()
    parser = argparse.ArgumentParser()
    load.add_parser(parser.add_subparsers())
    rate, seconds, devices = (
        (QUICK_RATE_PER_S, QUICK_SECONDS, QUICK_DEVICES)
        if arguments.quick
        else (RATE_PER_S, SECONDS, DEVICES)
    )
    words = [
        "load", "--events-per-s", str(rate), "--seconds", str(seconds), "--devices", str(devices),
        "--seed", str(arguments.seed), "--target", "aws", "--stack", stack,
        *(("--region", arguments.region) if arguments.region else ()),
    ]  # fmt: skip
    campaign = load.prepare(parser.parse_args(words), world, world.warn)
    outcome = (measured or _run)(campaign, looks)
    return result_of(campaign, outcome, looks, stack=stack)


def _run(campaign: Campaign, looks: Looks) -> Outcome:
    return run_load(campaign, stop=Stop(), teller=looks)


def result_of(campaign: Campaign, outcome: Outcome, looks: Looks, *, stack: str) -> Result:
    """Return what a load showed.

    Raises:
        WrongAnswerError: a total is not what was sent.
        RetryableError: nothing was compared.
    """
    found, progress = outcome.verified, outcome.progress
    if found is None:
        raise RetryableError(f"nothing was compared: {outcome.why}")
    if found.differences and outcome.applied_s is not None:
        raise WrongAnswerError(
            f"{len(found.differences)} of {found.values} values are not what was sent; the first: {found.differences[0]}"
        )
    tables = [
        Table(
            title="Stored after it was due, on AWS",
            unit="ms",
            series=tuple(Series(name, "ours", (value,)) for name, value in progress.latency_ms.items()),
        )
    ]
    if looks.behind_ms:
        tables.append(
            Table(
                title="How far behind the table is, on AWS",
                unit="s",
                series=(
                    Series("looked at now and then", "ours", tuple(each / 1000 for each in looks.behind_ms)),
                ),
            )
        )
    share = campaign.jobs[0].share
    return Result(
        name="pipeline_aws",
        question="How fresh is the table of a deployed stack under a load, and is every total exact?",
        method=(
            "The open-loop load of `streamgage load` from one machine; latency counts from when an event was due until Kinesis "
            "answered. How far behind the table is: the arrival time up to which everything is applied, asked every few seconds."
        ),
        tables=tuple(tables),
        configuration={
            "stack": stack,
            "rate_per_s": sum(each.share.rate_per_s for each in campaign.jobs),
            "seconds": share.seconds,
            "devices": sum(each.share.devices for each in campaign.jobs),
            "profile": asdict(campaign.jobs[0].profile),
        },
        facts={
            "events": progress.sent,
            "exact_values": found.values if outcome.applied_s is not None else None,
            "kinesis_records": progress.records,
            "bytes_per_event": round(progress.bytes / max(progress.sent, 1), 1),
            "sender_late_ms": round(progress.late_ms),
            "throttled": progress.throttled,
            "applied_s": outcome.applied_s,
        },
        missing={} if outcome.applied_s is not None else {"totals": outcome.why},
    )
