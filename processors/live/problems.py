"""What an answer of HTTP says instead of one: a status, a line, and every problem.

::

    Refused                 the caller is told why, by the status
    └── OutOfTimeError      504: by its deadline there was no answer
"""

from collections.abc import Mapping, Sequence

from streamgage.errors import StreamgageError


class Refused(StreamgageError):
    """A request that is answered with *status*. The first of *problems* is the error, where *error* is not given."""

    code = "refused"

    def __init__(
        self,
        status: int,
        *problems: str,
        error: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status, self.problems, self.headers = status, problems, headers or {}
        self.error = error or problems[0].partition("\n")[0]
        super().__init__(self.error)


class OutOfTimeError(Refused):
    """There was no answer by the deadline."""

    def __init__(self) -> None:
        super().__init__(
            504,
            "the answer would take too long: ask for a shorter range, for larger windows, or for fewer keys",
        )


def nearest(name: str, known: Sequence[str]) -> str:
    """Return a hint at the name that was meant: " (did you mean 'window'?)", or "" where none is near."""
    from difflib import get_close_matches  # noqa: PLC0415 - for mistakes only

    found = get_close_matches(name[:100], known, n=1)
    return f" (did you mean {found[0]!r}?)" if found else ""
