"""Cross-origin answers of an HTTP API that has a CorsConfiguration; without one there are none.

Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-cors.html (checked 2026-11-29).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infra.local.http.message import Request, Response

_ANY_OF_SCHEME = ("https://*", "http://*")
_PREFIX = "access-control-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cors:
    """What pages of other origins may do, as CorsConfiguration says it. ``*`` stands for any."""

    origins: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    credentials: bool = False
    max_age_s: int | None = None

    @classmethod
    def of(cls, properties: Mapping[str, Any]) -> "Cors":
        """Return what the template's *properties* say. Raises: ValueError."""
        age = properties.get("MaxAge")
        return cls(
            origins=_texts(properties.get("AllowOrigins", ())),
            methods=_texts(properties.get("AllowMethods", ())),
            headers=_texts(properties.get("AllowHeaders", ())),
            exposed=_texts(properties.get("ExposeHeaders", ())),
            credentials=str(properties.get("AllowCredentials", "false")).lower() == "true",
            max_age_s=None if age is None else int(age),
        )

    @property
    def named_origins(self) -> frozenset[str]:
        """The origins that are named, no patterns: whom a person has let in."""
        return frozenset(each for each in self.origins if "*" not in each)

    def preflight(self, request: Request) -> Response | None:
        """Return the answer to a browser's question before its request; None where *request* is no such question.

        It never reaches the function. To an origin that is not allowed it says nothing that the browser would take.
        """
        headers = request.headers
        if request.method != "OPTIONS" or not {"origin", "access-control-request-method"} <= headers.keys():
            return None
        said = self._about(headers["origin"])
        if said:
            said |= {"access-control-allow-methods": ",".join(self.methods)} if self.methods else {}
            said |= {"access-control-allow-headers": ",".join(self.headers)} if self.headers else {}
            said |= {} if self.max_age_s is None else {"access-control-max-age": str(self.max_age_s)}
        return Response(204, headers=said)

    def mark(self, request: Request, headers: Mapping[str, str]) -> dict[str, str]:
        """Return the answer's *headers* as a page of an allowed origin may read it; those of the function are dropped."""
        own = {name: value for name, value in headers.items() if not name.lower().startswith(_PREFIX)}
        origin = request.headers.get("origin")
        said = {} if origin is None else self._about(origin)
        if "vary" in said and "vary" in own:  # by what else the function's answer differs is still so
            said["vary"] = f"{own['vary']}, {said['vary']}"
        return own | said

    def _about(self, origin: str) -> dict[str, str]:
        if not self._allows(origin):
            return {}
        said = {
            "access-control-allow-origin": "*" if "*" in self.origins and not self.credentials else origin
        }
        said |= {"vary": "Origin"} if said["access-control-allow-origin"] != "*" else {}
        said |= {"access-control-allow-credentials": "true"} if self.credentials else {}
        said |= {"access-control-expose-headers": ",".join(self.exposed)} if self.exposed else {}
        return said

    def _allows(self, origin: str) -> bool:
        patterns = [each[:-1] for each in self.origins if each in _ANY_OF_SCHEME]
        return (
            "*" in self.origins or origin in self.origins or any(origin.startswith(each) for each in patterns)
        )


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ValueError(f"CorsConfiguration has lists of texts, not {value!r}")  # noqa: TRY004 - of a template
    return tuple(str(each) for each in value)
