"""How far an event source mapping has come, on disk: one JSON file a mapping, replaced whole or not at all."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.local.mapping.stream import ShardCheckpoint
from infra.local.sealed import seal, unseal
from streamgage.errors import ConfigError

_VERSION = 2
_READS = (1, _VERSION)  # 1 had no checksum, no "applied", and no mark


class CheckpointFile:
    """The checkpoint of one mapping. One process writes it; a kill -9 leaves the old file or the new one.

    ``mark`` says whose it is (``infra.local.stack.stores``); ``load`` reads it, ``save`` keeps it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.mark: dict[str, Any] | None = None

    def load(self) -> dict[str, ShardCheckpoint]:
        """Return what was saved last; nothing where there is no file yet.

        Raises:
            ConfigError: the file is not a checkpoint. It is never taken for an empty one: that would start over.
        """
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        except UnicodeDecodeError as error:
            raise self._corrupt("it is not text") from error
        try:
            document = json.loads(text)
            self.mark, shards = _mark_of(document.get("mark")), _shards_of(document)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._corrupt(f"{type(error).__name__}: {error}") from error
        return shards

    def save(self, checkpoints: Mapping[str, ShardCheckpoint]) -> None:
        """Make *checkpoints* durable: when this returns it survives a crash of the machine."""
        shards = {
            shard_id: {
                "sequence": None if kept.sequence is None else str(kept.sequence),
                "finished": kept.finished,
                "since_ms": kept.since_ms,
                "applied": None if kept.applied is None else str(kept.applied),
            }
            for shard_id, kept in checkpoints.items()
        }
        document = seal({"version": _VERSION, "mark": self.mark, "shards": shards})
        write_atomically(self._path, json.dumps(document, indent=1), durable=True)

    def _corrupt(self, why: str) -> ConfigError:
        return ConfigError(
            f"{self._path} is not a checkpoint that this version can read ({why}). Put back a copy of it; or delete it to "
            "start again after what the tables have (what is read once more is passed over)"
        )


def write_atomically(path: Path, text: str, *, durable: bool) -> None:
    """Replace the file *path* with *text* in one step; with *durable*, flushed to the disk as well."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with beside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        if durable:
            os.fsync(file.fileno())
    beside.replace(path)
    if durable:
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _shards_of(document: Any) -> dict[str, ShardCheckpoint]:
    version = document["version"]
    if version not in _READS:
        raise ValueError(f"its version is {version!r}, not {_VERSION}")
    shards = unseal(document, required=version == _VERSION)["shards"]
    return {shard_id: _checkpoint_of(entry) for shard_id, entry in shards.items()}


def _mark_of(entry: Any) -> dict[str, Any] | None:
    if entry is not None and not (isinstance(entry["home"], str) and isinstance(entry["epoch"], int)):
        raise ValueError(f"not a home's mark: {entry!r}")
    mark: dict[str, Any] | None = entry
    return mark


def _checkpoint_of(entry: Any) -> ShardCheckpoint:
    sequence, finished, since_ms = entry["sequence"], entry["finished"], entry["since_ms"]
    if not isinstance(finished, bool) or not (since_ms is None or isinstance(since_ms, int)):
        raise ValueError(f"not a shard's checkpoint: {entry!r}")
    applied = entry.get("applied", sequence)  # version 1 did not tell the discarded from the applied
    return ShardCheckpoint(
        None if sequence is None else int(sequence),
        finished,
        since_ms,
        None if applied is None else int(applied),
    )
