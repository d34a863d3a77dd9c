"""The streams that a person reads. Whatever a command prints to them passes here, so nothing can be forgotten.

``watched`` stands around a whole command line. It escapes what a terminal would obey; colours are rich's, whose console
(``producers.screen``) checks texts itself and writes beneath.
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from streamgage.visible import visible_lines


class VisibleStream:
    """A text stream that writes to ``beneath`` what ``visible_lines`` makes of its text; else it is that stream."""

    def __init__(self, beneath: TextIO) -> None:
        self.beneath = beneath

    def write(self, text: str) -> int:
        """Write *text*, escaped; also what the terminal's encoding lacks is escaped, and ends nothing."""
        shown = visible_lines(text)
        encoding = getattr(self.beneath, "encoding", None) or "utf-8"
        self.beneath.write(shown.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write *lines*, each as ``write`` does."""
        for each in lines:
            self.write(each)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.beneath, name)


@contextmanager
def watched() -> Iterator[None]:
    """Let standard output and error be visible ones, for as long as a command runs."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast("TextIO", VisibleStream(beneath_of(each))) for each in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def data_out() -> TextIO:
    """Return where data goes, exact to the last byte: standard output itself; the visible one where that is a terminal."""
    return sys.stdout if sys.stdout.isatty() else beneath_of(sys.stdout)


def beneath_of(stream: TextIO) -> TextIO:
    """Return the stream beneath *stream*, which is itself where it is no visible one."""
    return stream.beneath if isinstance(stream, VisibleStream) else stream
