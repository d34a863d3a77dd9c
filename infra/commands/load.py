"""``streamgage load``: a load to a stack, as devices would make it, and every total compared at the end."""

import argparse
import math
import os
import time
from typing import TYPE_CHECKING

from infra.commands.arguments import Verbs, add_pipeline, add_stack_options, add_verb, aws_stack
from infra.commands.world import World, real_world
from streamgage.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.commands.places import Target
    from infra.load.job import Job
    from infra.load.run import Campaign
    from producers.load.profile import Profile
    from streamgage.definition.pipeline import Pipeline

EPILOG = """examples:
  streamgage load --events-per-s 2000 --seconds 30 --devices 1000
  streamgage load --events-per-s 20000 --seconds 60 --profile realistic --seed 7
  streamgage load --seconds 600 --profile night.toml --source reading
  streamgage load --events-per-s 500 --seconds 60 --target aws --stack plant-7

profiles: steady, realistic (a day a minute, bursts, late and duplicate events, clocks that are wrong), daily, bursty,
disorderly; or a TOML file with any of: swing, day_s, burst_factor, burst_every_s, burst_s, zipf, late_share, late_by_ms,
duplicate_share, drift_ms. docs/load.md says what they mean.

Each event is due at a moment that is known before; latency counts from there. Its events are made of the schemas of any
pipeline, and have keys of their own, so that a table that holds more is compared all the same. Ctrl-C ends the sending, and
what was sent is compared; a second one ends it at once.

exit code:
  0  every total is what was sent         1  one is not, or not all was delivered or applied in time
  2  an argument or the pipeline is wrong, or nobody said yes to the cost
  130  interrupted by Ctrl-C (143 by SIGTERM, 129 by SIGHUP), and every total is what was sent until then
"""
_EVENTS_A_SENDER = 20_000  # a second; one process makes and sends some 40,000
_MOST_EVENTS = 1_000_000_000
_ASK_ABOVE_USD = 1.0
_LOCAL_LOOK_S, _AWS_LOOK_S = 1.0, 10.0


def add_parser(verbs: Verbs, *, world: World | None = None) -> None:
    """Add ``load``. *world* is this process's own unless a test brings another."""
    parser = add_verb(
        verbs,
        "load",
        "send a load as devices would, and compare every total",
        epilog=EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument("--events-per-s", type=float, default=1_000.0, metavar="N", help="on average (1000)")
    parser.add_argument(
        "--seconds", type=float, default=30.0, metavar="N", help="how long; at most a day (30)"
    )
    parser.add_argument("--devices", type=int, default=1_000, metavar="N", help="(1000)")
    parser.add_argument("--profile", default="steady", metavar="NAME", help="or a .toml file (steady)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="(1)")
    parser.add_argument(
        "--source",
        action="append",
        default=[],
        metavar="NAME",
        help="again for each (all that a rollup reads)",
    )
    parser.add_argument("--workers", type=int, metavar="N", help="processes that send (as the rate needs)")
    parser.add_argument(
        "--mark", metavar="TEXT", help="what the keys of this load begin with (a new one each time)"
    )
    parser.add_argument(
        "--drain-s", type=float, default=300.0, metavar="N", help="wait so long until all is applied (300)"
    )
    parser.add_argument(
        "--yes", action="store_true", help=f"on AWS: agree to a cost above ${_ASK_ABOVE_USD:.0f}"
    )
    add_pipeline(parser, help="the definition (of the stack that runs here, or pipeline.toml)")
    parser.set_defaults(pipeline=None, run=lambda args: run(args, world or real_world()))
    add_stack_options(parser)


def run(arguments: argparse.Namespace, world: World) -> int:
    """Run `streamgage load`; return the exit code. Raises: ConfigError, with every problem; RetryableError."""
    from infra.load.run import run_load
    from infra.load.tell import LoadTeller, exit_code, lines_of

    teller = LoadTeller(world.err, is_terminal=world.err.isatty())
    campaign = prepare(arguments, world, teller.say)
    with world.noting(world.stop):
        try:
            outcome = run_load(campaign, stop=world.stop, teller=teller)
        finally:
            teller.close()
    for line in lines_of(outcome, campaign):
        print(line, file=world.out)
    return exit_code(outcome, world.stop)


def prepare(arguments: argparse.Namespace, world: World, say: "Callable[[str], None]") -> "Campaign":
    """Return the load that *arguments* describe, and say what it is, and on AWS what it costs.

    Raises:
        ConfigError: an argument, the profile or the pipeline is wrong; there is no such stack; nobody agreed to the cost.
        RetryableError: the stack does not answer.
    """
    _check(arguments)
    from infra.commands.asked_at import find_place
    from infra.load.run import Campaign
    from processors.pipeline_files import load_pipeline
    from producers.load.events import sources_of
    from producers.load.profile import find_profile

    profile = find_profile(arguments.profile, world.folder)
    place = find_place(arguments)
    whole = load_pipeline(place.pipeline)
    target = _target(arguments, world)
    _, _, consumer = place.open()
    pipeline = whole.of_consumer(consumer)
    sources = sources_of(pipeline, tuple(arguments.source))
    jobs = _jobs(arguments, profile, target, consumer, pipeline=str(place.pipeline.resolve()))
    say(
        f"load {arguments.profile}, seed {arguments.seed}, keys begin with {jobs[0].share.mark}-: sources "
        f"{', '.join(each.name for each in sources)}; {arguments.devices:,} devices; {len(jobs)} "
        f"{'process' if len(jobs) == 1 else 'processes'}; to {target}"
    )
    if not target.local:
        _agree(arguments, say, pipeline=pipeline, senders=len(jobs))
    return Campaign(
        pipeline=pipeline,
        jobs=jobs,
        mark=jobs[0].share.mark,
        open=place.open,
        look_s=_LOCAL_LOOK_S if target.local else _AWS_LOOK_S,
        drain_s=arguments.drain_s,
    )


def _check(arguments: argparse.Namespace) -> None:
    problems = [
        f"{option} is {value:,g}; it is {low:,g} to {high:,g}"
        for option, value, low, high in (
            ("--events-per-s", arguments.events_per_s, 0.1, 1_000_000),
            ("--seconds", arguments.seconds, 0.1, 86_400),
            ("--devices", arguments.devices, 1, 1_000_000),
            ("--workers", 1 if arguments.workers is None else arguments.workers, 1, 64),
            ("--drain-s", arguments.drain_s, 0, 86_400),
        )
        if not low <= value <= high
    ]
    if arguments.events_per_s * arguments.seconds > _MOST_EVENTS:
        problems.append(
            f"{arguments.events_per_s * arguments.seconds:,.0f} events are more than {_MOST_EVENTS:,}"
        )
    if arguments.mark is not None and not (0 < len(arguments.mark) <= 40 and arguments.mark.isascii()):
        problems.append(f"--mark {arguments.mark!r}: 1 to 40 ASCII characters")
    if problems:
        raise ConfigError(*problems)


def _target(arguments: argparse.Namespace, world: World) -> "Target":
    from infra.commands.places import find_aws_target, find_target

    name = aws_stack(arguments)
    if name is not None:
        return find_aws_target(name, region=arguments.region)
    return find_target(
        stream=None, endpoint_url=None, region=arguments.region, environ=world.environ, folder=world.folder
    )


def _jobs(
    arguments: argparse.Namespace, profile: "Profile", target: "Target", consumer: str, *, pipeline: str
) -> "list[Job]":
    from infra.load.job import Job
    from producers.load.events import divide

    wanted = math.ceil(arguments.events_per_s * profile.burst_factor**0.5 / _EVENTS_A_SENDER)
    senders = arguments.workers or max(1, min(wanted, os.cpu_count() or 1, arguments.devices))
    # A load of a second ago has other keys: rows of both are told apart.
    mark = arguments.mark or f"load-{_base36(time.time_ns() // 1_000_000)}"
    shares = divide(
        senders=senders,
        mark=mark,
        seed=arguments.seed * 1_000,
        devices=arguments.devices,
        rate_per_s=arguments.events_per_s,
        seconds=arguments.seconds,
    )
    return [
        Job(
            share=share,
            profile=profile,
            pipeline=pipeline,
            consumer=consumer,
            sources=tuple(arguments.source),
            stream=target.stream,
            totals="",
            give_up_s=60.0,
            endpoint_url=target.endpoint_url,
            region=target.region,
            credentials=target.credentials,
            one_key_per_record=target.one_key_per_record,
        )
        for share in shares
    ]


def _agree(
    arguments: argparse.Namespace, say: "Callable[[str], None]", *, pipeline: "Pipeline", senders: int
) -> None:
    """Say what it costs, and refuse what nobody agreed to. Raises: ConfigError."""
    from infra.load.cost import estimate_usd
    from producers.load.events import sources_of

    events = round(arguments.events_per_s * arguments.seconds)
    usd = estimate_usd(
        pipeline,
        sources_of(pipeline, tuple(arguments.source)),
        events=events,
        rate_per_s=arguments.events_per_s,
        devices=arguments.devices,
        senders=senders,
    )
    say(f"about ${usd:,.2f} for {events:,} events, at the prices that `streamgage plan` knows")
    if usd > _ASK_ABOVE_USD and not arguments.yes:
        raise ConfigError(f"this load costs about ${usd:,.2f}: say --yes")


def _base36(number: int) -> str:
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    text = ""
    while number:
        number, digit = divmod(number, 36)
        text = digits[digit] + text
    return text
