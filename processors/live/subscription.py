"""What one connection wants to hear of: the rollups, and maybe the sizes of their windows. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from processors.live.news import News, Span, WindowSize
from streamgage.definition.pipeline import Pipeline
from streamgage.errors import ConfigError

MOST_ROLLUPS = 16
_MOST_WINDOWS = 16
_SHOWN = 40  # characters of what was wrong


@dataclass(frozen=True, slots=True)
class Subscription:
    """The rollups, and the sizes of windows as they are called; no ``windows``: all of them."""

    rollups: tuple[str, ...]
    windows: tuple[str, ...] = ()

    @classmethod
    def of(cls, message: Mapping[str, Any], pipeline: Pipeline) -> "Subscription":
        """Return what *message* asks for: ``{"rollups": ["page_views"], "windows": ["1m"]}``. Raises: ConfigError, all of it."""
        problems: list[str] = []
        rollups = _texts(message, "rollups", MOST_ROLLUPS, problems)
        if not rollups and not problems:
            problems.append(f"rollups names none; there are: {', '.join(pipeline.rollups)}")
        unknown = [each for each in rollups if each not in pipeline.rollups]
        problems += [
            f"there is no rollup {each[:_SHOWN]!r}; there are: {', '.join(pipeline.rollups)}"
            for each in unknown
        ]
        known = [pipeline.rollups[each] for each in rollups if each not in unknown]
        windows: list[str] = []
        for each in _texts(message, "windows", _MOST_WINDOWS, problems) if "windows" in message else ():
            named = [found.label for rollup in known if (found := rollup.window_named(each)) is not None]
            windows += named[:1]
            if known and not named:
                problems.append(f"no rollup that is named has windows of {each[:_SHOWN]!r}")
        if problems:
            raise ConfigError(*problems)
        return cls(tuple(dict.fromkeys(rollups)), tuple(dict.fromkeys(windows)))

    def hears(self, news: News) -> dict[WindowSize, Span]:
        """Return what of *news* this connection hears."""
        return {
            size: span
            for size, span in news.items()
            if size.rollup in self.rollups and (not self.windows or size.window in self.windows)
        }

    def told(self) -> dict[str, Any]:
        """Return it as JSON values, as it was asked for."""
        return {
            "rollups": list(self.rollups),
            **({"windows": list(self.windows)} if self.windows else {}),
        }


def _texts(message: Mapping[str, Any], name: str, most: int, problems: list[str]) -> list[str]:
    value = message.get(name)
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        problems.append(f"{name} is a list of texts")
        return []
    if len(value) > most:
        problems.append(f"{name} has {len(value)} entries; at most {most} are taken")
        return []
    return value
