"""A request, as API Gateway's HTTP API hands it over (payload format 2.0), within its bounds.

Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html (checked
2026-11-29): ``rawPath`` is decoded once already, ``rawQueryString`` is not; names of headers are lower case, values of one
name stand with commas between; bodies of forms come as base64. ``requestContext`` is API Gateway's alone: nothing that a
client sends gets into it.
"""

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from processors.live.problems import Refused
from streamgage.errors import ConfigError

QUERY_BYTES = 8 * 1024
BODY_BYTES = 64 * 1024
_MOST_PARAMETERS = 200
_FORM = "application/x-www-form-urlencoded"

Pairs = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked. *path* has no stage in it. *claims* are the caller's, as the authorizer gave them; None: there was none."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    claims: Mapping[str, Any] | None

    @classmethod
    def of(cls, event: Any) -> "Request":
        """Return the request of *event*.

        Raises:
            ConfigError: it is no event of an HTTP API with payload format 2.0: a mistake in the wiring.
        """
        try:
            context = event["requestContext"]
            method, path, query = (
                context["http"]["method"].upper(),
                event["rawPath"],
                event.get("rawQueryString"),
            )
            headers = {name.lower(): str(value) for name, value in (event.get("headers") or {}).items()}
            text = event.get("body") or ""
            body = b64decode(text) if event.get("isBase64Encoded") else text.encode("utf-8", "surrogatepass")
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ConfigError(
                "this is no event of an HTTP API with payload format 2.0: see HttpApiIntegration in the template "
                f"({type(error).__name__}: {error})"
            ) from error
        return cls(
            method, _without_stage(path, context.get("stage")), query or "", headers, body, _claims(context)
        )

    @property
    def parameters(self) -> Pairs:
        """The parameters of the query string, decoded, in their order. Raises: Refused, 400 or 414."""
        if len(self.query) > QUERY_BYTES:
            raise Refused(
                414, f"the query string takes {len(self.query):,} bytes; at most {QUERY_BYTES:,} are taken"
            )
        return _pairs(self.query, "the query string")

    @property
    def form(self) -> Pairs:
        """The parameters of a form in the body. Raises: Refused, 400, 413 or 415."""
        if not self.body:
            return []
        if len(self.body) > BODY_BYTES:
            raise Refused(413, f"the body takes {len(self.body):,} bytes; at most {BODY_BYTES:,} are taken")
        if self.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
            raise Refused(415, f"a body is a form: Content-Type: {_FORM}")
        try:
            return _pairs(self.body.decode("ascii"), "the form")
        except UnicodeDecodeError as error:
            raise Refused(
                400, f"the form is not ASCII text: byte {error.start} is not percent-encoded"
            ) from None


def _pairs(text: str, what: str) -> Pairs:
    try:
        found = parse_qsl(
            text,
            keep_blank_values=True,
            strict_parsing=bool(text),
            errors="strict",
            max_num_fields=_MOST_PARAMETERS,
        )
        for pair in found:
            "".join(pair).encode()
    except UnicodeError:
        raise Refused(400, f"{what} is not UTF-8, percent-encoded") from None
    except ValueError:
        raise Refused(
            400, f"{what} is not name=value&name=value, of at most {_MOST_PARAMETERS} pairs"
        ) from None
    return found


def _without_stage(path: str, stage: Any) -> str:
    """Return *path* without the stage in front of it, which is there but under a domain of one's own, or of ``$default``."""
    if not path.isascii() or not path.isprintable():
        return "/ "  # no route has it
    if not stage or stage == "$default" or not path.startswith(f"/{stage}/"):
        return path
    return path[len(stage) + 1 :]


def _claims(context: Mapping[str, Any]) -> Mapping[str, Any] | None:
    authorizer = context.get("authorizer") or {}
    found = (authorizer.get("jwt") or {}).get("claims")
    if found is None:
        found = authorizer.get("lambda")
    return found if isinstance(found, dict) else None
