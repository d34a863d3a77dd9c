"""``streamgage items``: look at the items of a rollup as they stand in the table."""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from infra.commands.arguments import Verbs, add_stack_options, add_verb, pairs
from infra.commands.asked_at import find_place, parse_instant
from producers.terminal import data_out
from streamgage.measures.windows import MAX_EVENT_TIME_MS
from streamgage.visible import visible

if TYPE_CHECKING:
    from processors.query.item_view import ItemView
    from processors.query.question import Question

EXAMPLES = """examples:
  streamgage items show device_metrics --window 1h
  streamgage items show device_metrics device_id=d-7 metric=humidity --window 1m --from 30m
  streamgage items show page_views --window 1d --format json --limit 1000
  streamgage items show device_metrics --target aws --stack plant-7

States are integers at the field's scale, `first` and `last` with their event time in ms: what docs/formats.md calls a
body, decoded. A key without a value in the listing has none yet. To ask for aggregates: streamgage query."""
_LIMIT = 20


def add_parser(verbs: Verbs) -> None:
    """Add ``items`` and what can be done with them."""
    items = add_verb(verbs, "items", "look at the items of the table", epilog=EXAMPLES)
    kinds = items.add_subparsers(title="what to do", required=True, metavar="VERB")
    parser = add_verb(
        kinds,
        "show",
        "show the items of a rollup, or those on the way to one key",
        description="Show the items of a rollup and window size: their keys, states, fence, begin, onward and bytes.",
        epilog=EXAMPLES,
    )
    parser.add_argument("rollup", help="a rollup of pipeline.toml")
    parser.add_argument(
        "key", nargs="*", metavar="key=value", help="only the items where this key is looked for"
    )
    parser.add_argument("--window", help="window size, such as 1h; default: the smallest of the rollup")
    parser.add_argument("--from", dest="from_", metavar="TIME", help="as `streamgage query` takes it")
    parser.add_argument("--to", metavar="TIME", help="windows that begin before it")
    parser.add_argument(
        "--limit", type=int, default=_LIMIT, help=f"how many items at most; default: {_LIMIT}"
    )
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument(
        "--pipeline", metavar="PATH", help="default: the one of the local stack; of AWS pipeline.toml"
    )
    add_stack_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the items; 0 also where there is none."""
    from infra.aws.stacks import aws_errors
    from processors.pipeline_files import load_pipeline
    from processors.query.item_view import view_items
    from processors.query.question import Question

    place = find_place(arguments)
    now_ms = time.time_ns() // 1_000_000
    question = Question.parse(
        load_pipeline(place.pipeline),
        rollup=arguments.rollup,
        key=pairs(arguments.key, "name=value") if arguments.key else None,
        window=arguments.window,
        from_ms=parse_instant(arguments.from_, now_ms=now_ms, default_ms=0),
        to_ms=parse_instant(arguments.to, now_ms=now_ms, default_ms=MAX_EVENT_TIME_MS),
    )
    store, _, _ = place.open()
    with aws_errors(f"table of {question.rollup.name}"):
        views = list(islice(view_items(store, question), arguments.limit + 1))
    more, views = len(views) > arguments.limit, views[: arguments.limit]
    if arguments.format == "json":
        print(json.dumps([item_json(each, question) for each in views], indent=1), file=data_out())
    else:
        print_items(views, question)
    if more:
        print(f"there are more: these are the first {arguments.limit} (--limit)", file=sys.stderr)
    return 0


def item_json(view: "ItemView", question: "Question") -> dict[str, Any]:
    """Return *view* as JSON values; the fence as text, for it has 56 digits."""
    from infra.aws.cost.counting import attributes_of
    from infra.aws.cost.item_size import item_size_bytes, write_units

    size_bytes = item_size_bytes(attributes_of(view.key, view.item))
    about: dict[str, Any] = {
        "pk": view.key.pk,
        "sk": view.key.sk,
        "fence": str(view.item.fence),
        "counts": view.item.counts,
        "expires_s": view.item.expires_s,
        "bytes": size_bytes,
        "body_bytes": len(view.item.body),
        "write_units": write_units(size_bytes),
    }
    if view.chunk is None:
        return {**about, "problem": view.problem}
    return {
        **about,
        "begin_ms": view.chunk.begin_ms,
        "onward": view.chunk.onward,
        "keys": list(_states(view, question)),
    }


def _states(view: "ItemView", question: "Question") -> Iterator[dict[str, Any]]:
    from processors.query.item_view import states_of
    from streamgage.fold.items import key_text

    return states_of(
        view, question, None if question.key is None else [key_text(question.rollup, question.key)]
    )


def print_items(views: "list[ItemView]", question: "Question") -> None:
    """Print *views* for people: a line an item, then its keys."""
    from rich.table import Table

    from infra.commands.status_tables import console

    if not views:
        print("no items in this range", file=sys.stderr)
        return
    screen = console()
    for view in views:
        about = item_json(view, question)
        keys = about.get("keys", [])
        held = 0 if view.chunk is None else len(view.chunk.keys)
        screen.print(
            f"{visible(about['pk'])}  {visible(about['sk'])}: {held} keys, {about['bytes']:,} bytes, {about['write_units']} write units a write",
            markup=False,
        )
        screen.print(
            f"  fence {about['fence']}  counts {visible(about['counts'])}  expires {about['expires_s']}"
        )
        if view.chunk is None:
            screen.print(f"  {visible(view.problem)}")
            continue
        onward = (
            f"no new keys any more; others among {view.chunk.onward} chunks"
            if view.chunk.onward
            else "takes new keys"
        )
        begin = (
            f"arrival {view.chunk.begin_ms}" if view.chunk.begin_ms else "from the stream's first record on"
        )
        screen.print(f"  counted {begin}; {onward}")
        if keys:
            table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
            for name in keys[0]:
                table.add_column(name, justify="left" if name == "key" else "right", overflow="fold")
            for each in keys:
                table.add_row(*map(_text, each.values()))
            screen.print(table)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        time_ms, number = value
        return f"{number} at {time_ms}"
    return visible(str(value))
