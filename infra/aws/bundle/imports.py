"""Which of our modules a function imports: what its bundle must hold, and what its cold start loads.

Read from the source, so it is known for every target without running there. It sees ``import`` and ``from … import``
wherever they are; a test holds that our packages import in no other way.
"""

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_BLOCKS = ("body", "handlers", "cases", "orelse", "finalbody")
"""Where a statement has statements in it. An expression has none, and most of a tree is expressions."""


@dataclass(frozen=True, slots=True)
class Imports:
    """The modules that an entry point imports, sorted: ``at_init`` by importing it, ``later`` in its functions only."""

    at_init: tuple[str, ...]
    later: tuple[str, ...]

    @property
    def modules(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(sorted((*self.at_init, *self.later)))


def imports_of(entry: str, packages: Mapping[str, Path]) -> Imports:
    """Return what the module *entry* imports of *packages* (name → folder), directly or not.

    Raises:
        ValueError: *entry* is no module of them.
    """
    if _path(entry, packages) is None:
        raise ValueError(f"{entry} is not a module of {', '.join(packages)}")
    named: dict[str, _Named] = {}

    def read(module: str) -> _Named:
        if module not in named:
            named[module] = _read(module, packages)
        return named[module]

    everything = _closure(entry, lambda module: read(module).anywhere)
    at_init = _closure(entry, lambda module: read(module).at_init)
    ours = {module for module in everything if _path(module, packages)}
    return Imports(tuple(sorted(ours & at_init)), tuple(sorted(ours - at_init)))


def module_path(module: str, packages: Mapping[str, Path]) -> Path:
    """Return the file of *module*. Raises: KeyError where there is none."""
    path = _path(module, packages)
    if path is None:
        raise KeyError(module)
    return path


@dataclass(frozen=True, slots=True)
class _Named:
    """The modules that one module's imports may mean, in all of it and in what runs when it is imported."""

    anywhere: tuple[str, ...] = ()
    at_init: tuple[str, ...] = ()


def _read(module: str, packages: Mapping[str, Path]) -> _Named:
    path = _path(module, packages)
    if path is None:
        return _Named()
    above, said = _parents(module), _said(path.read_bytes())
    return _Named((*above, *said.anywhere), (*above, *said.at_init))


@lru_cache(maxsize=2_000)  # of its text alone: the bundles of one stack share most of their modules
def _said(source: bytes) -> _Named:
    """Return what the imports in *source* may mean."""
    tree = ast.parse(source)
    return _Named(
        tuple(name for each in _run(tree) for name in _named(each)),
        tuple(name for each in _run(tree, later=False) for name in _named(each)),
    )


def _closure(entry: str, imported: Callable[[str], Iterable[str]]) -> set[str]:
    found: set[str] = set()
    pending = [entry]
    while pending:
        module = pending.pop()
        if module not in found:
            found.add(module)
            pending += imported(module)
    return found


def _named(statement: ast.AST) -> list[str]:
    """Return the modules that *statement* may import: of ``from a import b``, b may be one or not."""
    if isinstance(statement, ast.Import):
        return [each.name for each in statement.names]
    if isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
        return [statement.module, *(f"{statement.module}.{each.name}" for each in statement.names)]
    return []


def _parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _run(tree: ast.AST, *, later: bool = True) -> Iterator[ast.AST]:
    """Walk the statements of *tree*, but not into what only a type checker reads, nor, without *later*, into functions."""
    for child in (each for block in _BLOCKS for each in getattr(tree, block, ())):
        if (
            isinstance(child, ast.If)
            and isinstance(child.test, ast.Name)
            and child.test.id == "TYPE_CHECKING"
        ):
            continue
        if later or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child
            yield from _run(child, later=later)


def _path(module: str, packages: Mapping[str, Path]) -> Path | None:
    package, *rest = module.split(".")
    if package not in packages:
        return None
    place = packages[package].joinpath(*rest)
    for path in (place / "__init__.py", place.with_name(place.name + ".py")):
        if path.is_file():
            return path
    return None
