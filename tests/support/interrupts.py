"""Ctrl-C between two lines, at will."""

import re
from linecache import getline
from types import FrameType
from typing import Any

_TAKES_LOCK = re.compile(r"with .*lock\b")


class CtrlC(BaseException):
    """What a signal handler raises; pytest would take a KeyboardInterrupt for its own."""


class Interrupt:
    """Raises CtrlC before the *at*-th line of the files that begin with any of *traced*; None only counts them."""

    def __init__(self, at: int | None, traced: tuple[str, ...]) -> None:
        self._traced = traced
        self.lines = 0
        self.came = False
        self.where: dict[tuple[str, int], list[int]] = {}  # when each line was run
        self._at = at
        self._unwinding: FrameType | None = None

    def __call__(self, frame: FrameType, _event: str, _arg: Any) -> Any:
        return self._line if frame.f_code.co_filename.startswith(self._traced) else None

    def _line(self, frame: FrameType, event: str, _arg: Any) -> Any:
        if event == "exception":
            self._unwinding = frame
        if event == "line":
            self.lines += 1
            place = frame.f_code.co_filename, frame.f_lineno
            # No signal is handled between a raise and its handler, or the end of a ``with``, where what is raised is not yet
            # anybody's context; but a line is traced there.
            is_way_out = self._unwinding is frame or _TAKES_LOCK.search(getline(*place)) is not None
            if self._at is not None and self._at == self.lines and is_way_out:
                self._at += 1
            self._unwinding = None
            self.where.setdefault(place, []).append(self.lines)
            if self._at == self.lines:
                self.came = True
                raise CtrlC
        return self._line
