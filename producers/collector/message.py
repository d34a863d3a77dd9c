"""A request and its answer, whoever carried them: API Gateway to a function, or a socket to a server."""

import json
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from streamgage.errors import ConfigError, StreamgageError

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Asked:
    """One whole request; ``path`` has no stage in it, ``query`` is as it came. Names of headers are in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    @classmethod
    def of_event(cls, event: Any) -> "Asked":
        """Return the request in *event*, of API Gateway's HTTP API.

        Raises:
            ConfigError: it is none of payload format 2.0: a mistake in the wiring.

        Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
        (checked 2026-11-29): values of one name stand with commas between, ``rawQueryString`` is as it came.
        """
        try:
            context = event["requestContext"]
            text, stage = event.get("body") or "", context.get("stage")
            path = str(event["rawPath"])
            return cls(
                context["http"]["method"].upper(),
                path.removeprefix(f"/{stage}") if path.startswith(f"/{stage}/") else path,
                event.get("rawQueryString") or "",
                {name.lower(): str(value) for name, value in (event.get("headers") or {}).items()},
                b64decode(text) if event.get("isBase64Encoded") else text.encode("utf-8", "surrogatepass"),
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ConfigError(
                f"this is no event of an HTTP API with payload format 2.0 ({type(error).__name__}: {error})"
            ) from error


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole answer."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, status: int, told: Any, headers: Mapping[str, str] | None = None) -> "Answer":
        """Return *told* as JSON, which nobody may keep."""
        body = json.dumps(told, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "backslashreplace")
        return cls(status, body, JSON, {"Cache-Control": "no-store", **(headers or {})})


class Refused(StreamgageError):
    """A request that is answered with *status*; the first of *problems* is the error."""

    code = "refused"

    def __init__(self, status: int, *problems: str, headers: Mapping[str, str] | None = None) -> None:
        self.status, self.problems, self.headers = status, problems, headers or {}
        super().__init__(problems[0])
