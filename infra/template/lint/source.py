"""The template as a person wrote it: which line says what."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any

from infra.template.lint.resolve import Path
from infra.template.read import read_yaml

_ACCEPT = ("Metadata", "streamgage", "accept")


@dataclass(frozen=True, slots=True)
class Source:
    """The file, its lines by path, and what it says as plain values (tags such as !Ref as their text)."""

    file: File
    lines: Mapping[Path, int]
    values: Mapping[Path, Any]

    @classmethod
    def read(cls, file: File) -> "Source":
        """Return the template in *file* (YAML or JSON), which can be parsed."""
        root = read_yaml(file)
        lines: dict[Path, int] = {}
        values: dict[Path, Any] = {}
        for path, line, value in _walk(root, ()):
            lines[path] = line
            if value is not None:
                values[path] = value
        return cls(file, lines, values)

    def line_of(self, path: Path) -> int:
        """Return the line, from 1, of *path* in the translated template, or of the nearest thing around it."""
        written = self._written(path)
        while written and written not in self.lines:
            written = written[:-1]
        return self.lines.get(written, 1)

    def owner(self, logical_id: str) -> str | None:
        """Return which resource of the source *logical_id* is, or was made of by the SAM translator."""
        known = {path[1] for path in self.lines if len(path) == 2 and path[0] == "Resources"}
        if logical_id in known:
            return logical_id
        return max((str(each) for each in known if logical_id.startswith(str(each))), key=len, default=None)

    def accepted(self, logical_id: str, rule: str) -> str:
        """Return why the template accepts what *rule* says of the resource, or nothing.

        It says so in the resource's ``Metadata: {streamgage: {accept: {SG007: the reason}}}``.
        """
        found = self.values.get(("Resources", self.owner(logical_id) or "", *_ACCEPT, rule), "")
        return str(found).strip()

    def _written(self, path: Path) -> Path:
        """Return where the source says what the translated template says at *path*."""
        if len(path) < 2 or path[0] != "Resources":
            return path
        logical_id = str(path[1])
        owner = self.owner(logical_id)
        if owner is None or owner == logical_id:
            return path
        event = ("Resources", owner, "Properties", "Events", logical_id[len(owner) :])
        return (*event, *path[2:]) if event in self.lines else ("Resources", owner)


def _walk(node: Any, path: Path) -> Iterator[tuple[Path, int, str | None]]:
    """Yield each path, its line and its text where it has one. ``!If [a, b, c]`` stands as ``{"Fn::If": [a, b, c]}``."""
    if node is None:
        return
    line = node.start_mark.line + 1
    if node.tag.startswith("!") and node.id != "scalar":
        path = (*path, f"Fn::{node.tag[1:]}")
    yield path, line, node.value if node.id == "scalar" else None
    if node.id == "mapping":
        for key, value in node.value:
            inner = (*path, key.value)
            yield inner, key.start_mark.line + 1, None
            for place, found, text in _walk(value, inner):
                yield place, key.start_mark.line + 1 if place == inner else found, text
    elif node.id == "sequence":
        for index, value in enumerate(node.value):
            yield from _walk(value, (*path, index))
