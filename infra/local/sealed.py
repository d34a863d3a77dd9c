"""JSON documents with a checksum: one that was cut, or in which a byte flipped, is found and not believed.

A digit of a sequence number that flips is JSON still. The checksum is a field of the document, ``crc32``, over all the
others as compact JSON with sorted keys; whoever edits a file by hand removes the field.
"""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from streamgage.errors import ConfigError

KEY = "crc32"


def seal(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return *document* with its checksum."""
    return {KEY: _checksum(document), **document}


def unseal(document: Any, *, required: bool = False) -> dict[str, Any]:
    """Return *document* without its checksum, which one of an older version has not.

    Raises:
        ValueError: it is no JSON object, its checksum differs, or is *required* and not there.
    """
    if not isinstance(document, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - of a file, not of an argument
    if KEY not in document:
        if required:
            raise ValueError("its checksum is missing")
        return document
    content = {key: value for key, value in document.items() if key != KEY}
    if document[KEY] != _checksum(content):
        raise ValueError("its checksum differs")
    return content


def read_sealed(path: Path, *, todo: str) -> dict[str, Any] | None:
    """Return the document in *path*, None where there is no such file.

    Raises:
        ConfigError: it is damaged. Says *todo*.
    """
    try:
        return unseal(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # no JSON, no text, or not what was written
        raise ConfigError(f"{path} is damaged ({error}). {todo}") from error


def _checksum(document: Mapping[str, Any]) -> str:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return f"{zlib.crc32(text.encode()):08x}"
