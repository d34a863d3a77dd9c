"""Files parsed ahead, when the bundle is built: the definition, and its schemas.

Parsing them takes fastavro and tomllib, which together are a sixth of a cold start (docs/adr/0011). An entry is found by
the SHA-256 of a file's text, so it can never stand for another file: one that was changed after the build is parsed in
full, as without an index.
"""

import json
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

from streamgage.formats.avro import AvroSchema

INDEX_NAME = "pipeline.index.json"  # beside pipeline.toml
_FORMAT = 2  # changes with what an entry holds


class BuildIndex:
    """What parsing gave for some texts. Its methods are the parsers, only faster where an entry is there.

    ``missed`` says whether a text was asked for that it does not hold. Until then all is what was there at the build, when
    it was read over in full.
    """

    def __init__(self, schemas: dict[str, Any] | None = None, tomls: dict[str, Any] | None = None) -> None:
        self._schemas, self._tomls = schemas or {}, tomls or {}
        self.missed = False

    @classmethod
    def of_text(cls, text: str) -> "BuildIndex":
        """Return the index that ``index_text`` wrote; an empty one where *text* is of another format, or no index."""
        try:
            content = json.loads(text)
        except ValueError:
            return cls()
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            return cls()
        return cls(content["schemas"], content["tomls"])

    def schema(self, text: str) -> AvroSchema:
        """Return the schema that *text* describes. Raises: ValueError, as AvroSchema.parse."""
        entry = self._schemas.get(_hash(text))
        if entry is None:
            self.missed = True
            return AvroSchema.parse(text)
        prefix = bytes.fromhex(entry["prefix"])
        return AvroSchema(entry["name"], entry["fields"], entry["parsed"], prefix, entry["logical"])

    def toml(self, text: str) -> dict[str, Any]:
        """Return what the TOML *text* holds. Raises: ValueError, RecursionError, as tomllib.loads."""
        entry: dict[str, Any] | None = self._tomls.get(_hash(text))
        if entry is None:
            self.missed = True
            return _toml(text)
        return entry


def index_text(*, schemas: Iterable[str], definition: str) -> str:
    """Return the index of texts. The bundle's builder calls it; the *definition* has been loaded before.

    Left out is what is not valid, and a definition with values that JSON does not have, such as dates.
    """
    parsed = {}
    for text in schemas:
        try:
            schema = AvroSchema.parse(text)
        except ValueError:
            continue
        parsed[_hash(text)] = {
            "name": schema.name,
            "fields": schema.fields,
            "parsed": schema.parsed,
            "prefix": schema.prefix.hex(),
            "logical": schema.logical,
        }
    content = {"format": _FORMAT, "schemas": parsed, "tomls": {_hash(definition): _toml(definition)}}
    try:
        return json.dumps(content, indent=1) + "\n"
    except TypeError:
        return json.dumps({**content, "tomls": {}}, indent=1) + "\n"


def _toml(text: str) -> dict[str, Any]:
    import tomllib  # noqa: PLC0415 - 5 ms

    return tomllib.loads(text)


def _hash(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
