"""What became of an invocation."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answered:
    """The function returned; *payload* is the JSON that it answered."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """The function raised, timed out, crashed, or could not be initialised.

    ``function_error`` is what Lambda would report: ``Unhandled``, or ``Handled`` of a caught error.
    """

    message: str
    function_error: str = "Unhandled"


@dataclass(frozen=True, slots=True)
class NotInvoked:
    """The function never ran (throttled, no sandbox to be had). Not an attempt: tried again until too old."""

    message: str


Outcome = Answered | Failed | NotInvoked
