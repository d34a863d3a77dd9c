"""Tags of streams: AddTagsToStream, RemoveTagsFromStream, ListTagsForStream and the Resource forms."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from infra.local.kinesis.errors import KinesisError, constraint, invalid
from infra.local.kinesis.fields import Fields, arn_name
from infra.local.kinesis.model import KinesisModel
from infra.local.kinesis.stream import Stream

_TAGS = 50
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
        for key, value in added.items():
            if not 1 <= len(key) <= 128 or len(value) > 256:
                raise constraint("Tags", key, "have keys of 1 to 128 and values of at most 256 characters")
        stream = self._stream(fields)
        with stream.lock:
            tags = {**stream.state.tags, **added}
            if len(tags) > _TAGS:
                raise invalid(f"Failed to add tags to stream {stream.state.name}: more than {_TAGS} tags.")
            self._replace(stream, tags)

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


def _described(stream: Stream) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in sorted(stream.state.tags.items())]
