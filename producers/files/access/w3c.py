"""W3C Extended Log Format: CloudFront's (tabs) and IIS's (blanks). A ``#Fields`` line says what stands where.

Times are UTC in both.

Source: https://www.w3.org/TR/WD-logfile.html and
https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/standard-logs-reference.html
"""

from collections.abc import Mapping
from urllib.parse import unquote

from producers.files.access.fields import Hit, event_values

LAYOUTS = ("cloudfront", "iis")
_NEEDED = ("date", "time", "c-ip", "cs-method", "cs-uri-stem")


class W3cLines:
    """Reads lines one after the other; the last ``#Fields`` counts."""

    def __init__(self) -> None:
        self._fields: tuple[str, ...] = ()
        self._tabs = False

    @property
    def begun(self) -> bool:
        """Whether a line has said what stands where."""
        return bool(self._fields)

    def directive(self, text: str) -> bool:
        """Take note of *text* where it is a directive (``#Fields: …``), and tell whether it is one."""
        if not text.startswith("#"):
            return False
        name, colon, rest = text[1:].partition(":")
        if colon and name.strip().lower() == "fields":
            self._fields = tuple(rest.split())
        return True

    def parse(self, text: str) -> Hit | None:
        """Return what *text* says, None where no fields were named. Raises: ValueError, see parse_apache."""
        if not self._fields:
            return None
        line = text.rstrip("\r\n")
        cells = line.split("\t" if "\t" in line else " ")
        if len(cells) != len(self._fields):
            raise ValueError(f"has {len(cells)} parts; its #Fields line names {len(self._fields)}")
        values = dict(zip(self._fields, cells, strict=True))
        if missing := [each for each in _NEEDED if each not in values]:
            raise ValueError(f"its #Fields line names no {', '.join(missing)}")
        return self._hit(values, cloudfront="\t" in line)

    def _hit(self, values: Mapping[str, str], *, cloudfront: bool) -> Hit:
        def decoded(name: str) -> str:
            """Return a header: CloudFront writes it URL-encoded, IIS with + for a blank."""
            text = values.get(name, "-")
            return unquote(text) if cloudfront else text.replace("+", " ")

        query = values.get("cs-uri-query", "-")
        return Hit(
            "cloudfront" if cloudfront else "iis",
            event_values(
                client=values["c-ip"],
                time=f"{values['date']}T{values['time']}Z",
                method=values["cs-method"],
                target=values["cs-uri-stem"] + ("" if query == "-" else f"?{query}"),
                status=_digits(values.get("sc-status")),
                size=_digits(values.get("sc-bytes")),
                referrer=decoded("cs(Referer)"),
                agent=decoded("cs(User-Agent)"),
                more={
                    "host": values.get("x-host-header" if cloudfront else "cs-host"),
                    "forwarded_for": values.get("x-forwarded-for"),
                },
            ),
        )


def _digits(text: str | None) -> str | None:
    """Return a number, None for what stands in its place: CloudFront writes 000 where a client went away."""
    return text if text and text.isascii() and text.isdigit() and len(text) <= 18 else None
