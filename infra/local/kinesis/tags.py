"""Tags of streams: AddTagsToStream, RemoveTagsFromStream, ListTagsForStream and the Resource forms."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from infra.local.kinesis.errors import KinesisError, constraint, invalid
from infra.local.kinesis.fields import Fields, arn_name
from infra.local.kinesis.model import KinesisModel
from infra.local.kinesis.stream import Stream

_TAGS = 50
_ALLOWED = re.compile(r"[\w\s.:/=+@-]*")
"""Source: https://docs.aws.amazon.com/streams/latest/dev/tagging.html, "Tag restrictions" (checked 2026-11-29)."""
_PAGE = 50


class TagActions:
    """Actions on a stream's tags; each exists for a stream and for an ARN."""

    def __init__(self, model: KinesisModel) -> None:
        self._model = model

    def add(self, fields: Fields) -> None:
        """Set tags."""
        added = fields.mapping("Tags")
        if not added:
            raise constraint("Tags", None, "not be null")
        stream = self._stream(fields)
        with stream.lock:
            account = self._model.settings.account
            self._replace(stream, checked_tags(stream.state.name, stream.state.tags, added, account=account))

    def remove(self, fields: Fields) -> None:
        """Remove tags by key; keys that are not there are ignored."""
        keys = set(fields.texts("TagKeys"))
        stream = self._stream(fields)
        with stream.lock:
            self._replace(stream, {key: value for key, value in stream.state.tags.items() if key not in keys})

    def list_page(self, fields: Fields) -> dict[str, Any]:
        """List a stream's tags in pages, by key."""
        after = fields.optional_text("ExclusiveStartTagKey") or ""
        limit = fields.optional_integer("Limit", most=_PAGE) or _PAGE
        tags = [tag for tag in _described(self._stream(fields)) if tag["Key"] > after]
        return {"Tags": tags[:limit], "HasMoreTags": len(tags) > limit}

    def list_all(self, fields: Fields) -> dict[str, Any]:
        """List a resource's tags."""
        return {"Tags": _described(self._stream(fields))}

    def _stream(self, fields: Fields) -> Stream:
        arn = fields.optional_text("ResourceARN")
        return self._model.find(arn_name(self._model, arn)) if arn is not None else fields.stream(self._model)

    def _replace(self, stream: Stream, tags: Mapping[str, str]) -> None:
        if stream.status == "GONE":
            raise KinesisError("ResourceNotFoundException", f"Stream {stream.state.name} not found.")
        self._model.change(stream, state=replace(stream.state, tags=tags))


def checked_tags(
    name: str, before: Mapping[str, str], added: Mapping[str, str], *, account: str
) -> dict[str, str]:
    """Return the tags of stream *name* with those that are *added*.

    Raises:
        KinesisError: InvalidArgumentException, for a character, a key of AWS's own, or too many.
    """
    if any(not _ALLOWED.fullmatch(text) for tag in added.items() for text in tag):
        raise invalid(
            "Some tags contain invalid characters. Valid characters: Unicode letters, digits, white space, _ . : / = + - @."
        )
    failed = f"Failed to add tags to stream {name} under account {account} because"
    if any(key.lower().startswith("aws:") for key in added):
        raise invalid(f"{failed} keys that begin with aws: are reserved.")
    tags = {**before, **added}
    if len(tags) > _TAGS:
        raise invalid(f"{failed} a given stream cannot have more than {_TAGS} tags associated with it.")
    return tags


def _described(stream: Stream) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in sorted(stream.state.tags.items())]
