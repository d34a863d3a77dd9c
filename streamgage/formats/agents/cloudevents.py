"""CloudEvents in JSON, one or a batch: the attributes, and ``data:…`` by path.

Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md.
"""

from collections.abc import Mapping
from typing import Any

from streamgage.formats.agents.items import Composite
from streamgage.formats.agents.json_documents import PathValues

_REQUIRED = ("id", "source", "type")
_BINARY = Composite("bytes (data_base64)")


class CloudEvent:
    """The values of one event, by selector."""

    def __init__(self, found: Mapping[str, Any]) -> None:
        self._found = found
        data = found.get("data")
        self._data = PathValues(data if isinstance(data, dict) else {})

    def get(self, selector: str) -> object:
        """Return an attribute, or what stands at a path of the data; None where there is none."""
        word, colon, name = selector.partition(":")
        if word != "data":
            return self._found.get(name if colon else word)
        if "data_base64" in self._found:
            return _BINARY
        return self._data.get(name) if colon else self._found.get("data")


def problem_of(found: Mapping[str, Any]) -> str:
    """Return why *found* is no CloudEvent; "" where it is one."""
    if found.get("specversion") != "1.0":
        return f"specversion is {str(found.get('specversion'))[:80]!r}, not '1.0'"
    missing = [name for name in _REQUIRED if not isinstance(found.get(name), str) or not found[name]]
    return f"{', '.join(missing)} missing: a CloudEvent has id, source and type" if missing else ""
