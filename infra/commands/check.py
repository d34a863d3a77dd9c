"""``streamgage check``: read a pipeline definition over, and say what it measures."""

import argparse
from pathlib import Path

from infra.commands.arguments import Verbs, add_pipeline, add_verb
from streamgage.durations import format_duration

EXAMPLES = """examples:
  streamgage check
  streamgage check --pipeline plant/pipeline.toml"""


def add_parser(verbs: Verbs) -> None:
    """Add ``check``."""
    parser = add_verb(
        verbs,
        "check",
        "read a pipeline definition over",
        description="Report every problem of a pipeline definition, events of each older schema read by today's among them; "
        "where there is none, say what it measures.",
        epilog=EXAMPLES,
    )
    add_pipeline(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what the definition says, or raise ConfigError with every problem."""
    from infra.aws.bundle.vouched import vouched_pipeline
    from producers.mqtt.routes_toml import load_routes
    from streamgage.definition.evolution import defaults_of

    pipeline = vouched_pipeline(Path(arguments.pipeline))
    _, subscriptions = load_routes(arguments.pipeline)
    for source in pipeline.sources.values():
        older = f", reads {len(source.writers)} older schemas" if source.writers else ""
        print(f"source {source.name}: {source.schema.name}, partition key {source.partition_key}{older}")
        for name, text in (source.derived.texts if source.derived else {}).items():
            print(f"  {name} = {text}")
        for mapping in source.agents:
            meant = (
                " and ".join(f"{key} {' or '.join(sorted(texts))}" for key, texts in mapping.match) or "all"
            )
            fields = ", ".join(f"{name} = {selector}" for name, selector in mapping.fields)
            print(f"  from {mapping.format}, {meant}: {fields}")
        used = frozenset(
            name for each in pipeline.rollups_of(source.name) for name in (*each.key, *each.measures)
        )
        for path, name, default in defaults_of(source, used):
            print(f"  {path} has no {name}: its events count with the default, {default!r}")
    several = len(pipeline.consumers) > 1
    for rollup in pipeline.rollups.values():
        counted_by = f"; counted by {rollup.consumer}" if several else ""
        windows = ", ".join(each.label for each in rollup.windows)
        print(
            f"rollup {rollup.name} of {rollup.source}: by {', '.join(rollup.key)}; windows {windows}; "
            f"kept {'for ever' if rollup.keep_ms is None else format_duration(rollup.keep_ms)}{counted_by}"
        )
        if rollup.together:
            print(f"  together: {', '.join(rollup.together)}")
        if rollup.where is not None:
            print(f"  where {rollup.where.text}")
        for field, measures in rollup.measures.items():
            print(f"  {field}: {', '.join(measures)}")
    for each in subscriptions:
        known = f"; known by {each.id}" if each.id else ""
        print(
            f"mqtt {each.topic.text}: {each.payload} of {', '.join(route.source.name for route in each.routes)}{known}"
        )
    return 0
