"""What the stack in a home counts: fixed for as long as the home keeps its stream and tables.

The local stack runs one function over one progress, as a stack on AWS does. Another definition would be counted from where
the stream is now, and into items that mean something else.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from infra.local.stack.home import Home, read_json, write_json
from infra.local.stack.versions import RefusedVersion
from streamgage.definition.fingerprint import definition_of, differences
from streamgage.definition.pipeline import Pipeline
from streamgage.errors import ConfigError


def keep_definition(home: Home, pipeline: Pipeline, consumer: str) -> None:
    """Note what *consumer* of *pipeline* counts in this home; called before anything that counts it is started.

    Raises:
        ConfigError: what was read of the stream was counted otherwise.
    """
    if home.checkpoint_file.exists():
        check_definition(home, pipeline, consumer)
    write_json(home.definition_file, {"consumer": consumer, "definition": definition_of(pipeline, consumer)})


@contextmanager
def noted_before(home: Home, pipeline: Pipeline, consumer: str) -> Iterator[None]:
    """Note what *consumer* of *pipeline* counts before the version that does is given to anybody, whatever becomes of that.

    It may count from then on, though whoever waits for it gives up, or is killed. Where it is refused, it never did.
    """
    before = read_json(home.definition_file)
    keep_definition(home, pipeline, consumer)
    try:
        yield
    except RefusedVersion:
        if before is not None:
            write_json(home.definition_file, before)
        raise


def check_definition(home: Home, pipeline: Pipeline, consumer: str) -> None:
    """Refuse a *pipeline* whose *consumer* counts something else than this home does. Raises: ConfigError."""
    noted = read_json(home.definition_file) or {"consumer": consumer, "definition": {}}
    if noted["consumer"] != consumer:
        changed = [f"consumer {noted['consumer']} counts in {home.root}, not {consumer}"]
    else:
        is_named = consumer in pipeline.consumers  # else all that it counts would be removed
        definition = definition_of(pipeline, consumer) if is_named else {}
        changed = differences(noted["definition"], definition)
    if changed:
        raise ConfigError(
            *changed,
            f"what the stack in {home.root} counts would change: it would be counted from now on only. Start the other "
            "definition in a home of its own (STREAMGAGE_HOME=.streamgage-v2 streamgage up), or this one afresh: "
            f"streamgage down, then rm -r {home.root}. On AWS it is deployed beside: docs/operations.md, change what is measured",
        )
