"""Topic filters of MQTT: what they match, and whether two may match one topic.

Source: https://docs.oasis-open.org/mqtt/mqtt/v5.0/os/mqtt-v5.0-os.html, 4.7 (checked 2026-11-29).
"""

from dataclasses import dataclass
from typing import Self

_MOST_BYTES = 65_535
_ONE, _ALL = "+", "#"


@dataclass(frozen=True, slots=True)
class TopicFilter:
    """Which topics are meant: ``plant/+/temperature``, ``plant/#``."""

    text: str
    levels: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the filter that *text* writes. Raises: ValueError, it is none; says why."""
        levels = tuple(text.split("/"))
        if not text or len(text.encode(errors="surrogatepass")) > _MOST_BYTES or "\0" in text:
            raise ValueError(
                f"{text[:80]!r} is no topic filter: 1 to {_MOST_BYTES:,} bytes, none of them NUL"
            )
        if levels[0] == "$share":
            raise ValueError(f"{text!r}: a share is of the whole bridge: --share NAME")
        for number, level in enumerate(levels, start=1):
            if _ALL in level and (level != _ALL or number < len(levels)):
                raise ValueError(f"{text!r}: # stands alone on the last level")
            if _ONE in level and level != _ONE:
                raise ValueError(f"{text!r}: + stands alone on its level")
        return cls(text, levels)

    @property
    def most_levels(self) -> int | None:
        """How many levels its topics have; None where that is open."""
        return None if self.levels[-1] == _ALL else len(self.levels)

    def matches(self, topic: str) -> bool:
        """Tell whether *topic* is meant. Those that begin with $ are the broker's: a wildcard does not mean them."""
        if topic.startswith("$") and self.levels[0] in (_ONE, _ALL):
            return False
        levels = topic.split("/")
        for number, mine in enumerate(self.levels):
            if mine == _ALL:  # "sport/#" also matches the singular "sport", since # includes the parent level
                return True
            if number == len(levels) or mine not in (_ONE, levels[number]):
                return False
        return len(levels) == len(self.levels)

    def overlaps(self, other: Self) -> bool:
        """Tell whether some topic is meant by both: a broker may then send its messages twice."""
        mine, theirs = self.levels, other.levels
        for number in range(max(len(mine), len(theirs)) + 1):
            one = mine[number] if number < len(mine) else None
            two = theirs[number] if number < len(theirs) else None
            if _ALL in (one, two):
                return not (number == 0 and _is_brokers(one, two))
            if one is None or two is None:
                return one is two
            if one != two and _ONE not in (one, two):
                return False
            if number == 0 and _is_brokers(one, two):
                return False
        raise AssertionError("both have ended")


def _is_brokers(one: str | None, two: str | None) -> bool:
    """Tell whether one of two first levels is a $ topic, and the other a wildcard."""
    return one != two and any(each is not None and each.startswith("$") for each in (one, two))
