"""What is wrong with a request, as Prometheus' HTTP API says it.

============ ====== ==============================================================
kind         status what the caller should do
============ ====== ==============================================================
bad_data     400    write the parameter, or the expression, otherwise
not_found    404    ask for a path that there is
execution    422    ask for less, or for what is built; the message says what
============ ====== ==============================================================

Source: https://prometheus.io/docs/prometheus/latest/querying/api/#format-overview
"""

from typing import Literal

from streamgage.errors import StreamgageError

Kind = Literal["bad_data", "not_found", "execution"]
STATUS: dict[Kind, int] = {
    "bad_data": 400,
    "not_found": 404,
    "execution": 422,
}


class QueryError(StreamgageError):
    """A request that is not answered; ``kind`` says whose fault it is."""

    code = "query_error"

    def __init__(self, kind: Kind, message: str) -> None:
        self.kind: Kind = kind
        super().__init__(message)


def bad_data(message: str) -> QueryError:
    """Return the error of what was not understood."""
    return QueryError("bad_data", message)


def execution(message: str) -> QueryError:
    """Return the error of what was understood, and is not done."""
    return QueryError("execution", message)
