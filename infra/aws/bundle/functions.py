"""The functions that bundles are made of: where each begins, what it needs beyond ours, and what it may take."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from streamgage.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Budget:
    """What a bundle may be at most. A test and ``streamgage package --check`` hold it."""

    size_bytes: int
    unzipped_bytes: int
    modules_at_init: int


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the template. ``name`` is that of its zip; ``entry`` the module of its handler.

    ``requirements`` are the distributions that it imports beyond ours, which ``lock`` pins, with all that they need, for
    Lambda's machine.
    """

    name: str
    entry: str
    requirements: tuple[str, ...]
    lock: Path
    budget: Budget


# Of a budget, bytes are a tenth above what they are, modules as many as there are (packages count: each is an import).
# Raise it with the change that needs more, and say what it bought in docs/adr/0017 or 0039.
AGGREGATE = Function(
    name="aggregate",
    entry="processors.aggregate.function",
    requirements=("fastavro",),
    lock=Path(__file__).with_name("function.lock"),
    budget=Budget(size_bytes=1_630_000, unzipped_bytes=4_150_000, modules_at_init=80),
)
API = Function(
    name="api",
    entry="processors.live.function",
    requirements=("fastavro", "aws-lambda-powertools", "promql-parser"),
    lock=Path(__file__).with_name("api.lock"),
    budget=Budget(size_bytes=4_950_000, unzipped_bytes=12_700_000, modules_at_init=99),
)
SOCKET = Function(
    name="socket",
    entry="processors.live.socket",
    requirements=AGGREGATE.requirements,
    lock=AGGREGATE.lock,
    budget=Budget(size_bytes=1_300_000, unzipped_bytes=3_550_000, modules_at_init=46),
)
PUSH = Function(
    name="push",
    entry="processors.live.push",
    requirements=AGGREGATE.requirements,
    lock=AGGREGATE.lock,
    budget=Budget(size_bytes=1_300_000, unzipped_bytes=3_550_000, modules_at_init=48),
)
COLLECTOR = Function(
    name="collector",
    entry="producers.collector.function",
    requirements=("fastavro", "aws-lambda-powertools"),
    lock=Path(__file__).with_name("collector.lock"),
    budget=Budget(size_bytes=3_460_000, unzipped_bytes=9_070_000, modules_at_init=87),
)
FUNCTIONS = (AGGREGATE, API, SOCKET, PUSH, COLLECTOR)


def named(name: str) -> Function:
    """Return the function whose zip is called *name*. Raises: ConfigError."""
    for each in FUNCTIONS:
        if each.name == name:
            return each
    raise ConfigError(
        f"there is no function {name!r}; there are: {', '.join(each.name for each in FUNCTIONS)}"
    )


def of_code(code: Mapping[str, str]) -> dict[str, Function]:
    """Return, by local CodeUri, the function whose bundle belongs there. *code* has the handler of each CodeUri.

    Raises:
        ConfigError: a handler is none of ours; names each.
    """
    by_entry = {each.entry: each for each in FUNCTIONS}
    found = {place: by_entry.get(handler.rpartition(".")[0]) for place, handler in code.items()}
    problems = [
        f"CodeUri {place}: {code[place] or 'no handler'} is no function of streamgage, so no bundle can be made of it; give the "
        f"zip: --bundle {PurePosixPath(place).with_suffix('.zip').name}"
        for place, each in found.items()
        if each is None
    ]
    if problems:
        raise ConfigError(*problems)
    return {place: each for place, each in found.items() if each is not None}
