"""rich's console, as every command draws with it: texts are texts, never markup, and nothing in them is obeyed."""

import sys
from collections.abc import Iterable
from typing import Any, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from producers.terminal import beneath_of
from streamgage.visible import visible_lines


class Screen(Console):
    """A console for texts of strangers. Styles are given by ``Text``: ``[red]`` in a text stays as it is.

    A text is escaped before it is measured, so that tables stay straight; what comes as ``Text``, when it is drawn.
    """

    def __init__(
        self, *, file: TextIO | None = None, width: int | None = None, soft_wrap: bool = False
    ) -> None:
        super().__init__(
            file=beneath_of(sys.stdout if file is None else file),
            width=width,
            soft_wrap=soft_wrap,
            markup=False,
            emoji=False,
            highlight=False,
        )

    def render_str(self, text: str, **options: Any) -> Text:
        """Return *text* as rich draws it."""
        return super().render_str(visible_lines(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments of *renderable*."""
        for each in super().render(renderable, options):
            yield each if each.control else Segment(visible_lines(each.text), each.style)
