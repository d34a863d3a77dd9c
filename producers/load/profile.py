"""What a load is like: how its rate moves, who sends how much, what comes late, twice, or by a clock that is wrong."""

from dataclasses import dataclass, fields
from pathlib import Path

from streamgage.errors import ConfigError

_LONGEST_MS = 365 * 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How a load deviates from an even one. The average rate stays what was asked for.

    Attributes:
        swing: of the rate, 0 to 1, around its average over a day; the day begins at its lowest.
        day_s: how long a day is: 86,400, or less, to see one in a short run.
        burst_factor: during a burst the rate is so many times what it would be.
        burst_every_s: between the beginnings of two bursts, on average; burst_s: how long one lasts.
        zipf: the n-th device sends in proportion to ``1 / n**zipf``; 0: all alike.
        late_share: of the events happened up to *late_by_ms* before they are sent.
        duplicate_share: of the events are sent again, as a device does that had no answer; nothing marks the second, so
            it counts as another event.
        drift_ms: a device's clock is wrong by up to so much, either way.
    """

    swing: float = 0.0
    day_s: float = 86_400.0
    burst_factor: float = 1.0
    burst_every_s: float = 60.0
    burst_s: float = 2.0
    zipf: float = 0.0
    late_share: float = 0.0
    late_by_ms: int = 120_000
    duplicate_share: float = 0.0
    drift_ms: int = 0

    def __post_init__(self) -> None:
        """Refuse what makes no load, every problem of it at once."""
        bounds = {
            "swing": (0, 1),
            "day_s": (1, 86_400),
            "burst_factor": (1, 1_000),
            "burst_every_s": (0.1, 86_400),
            "burst_s": (0.01, 86_400),
            "zipf": (0, 4),
            "late_share": (0, 1),
            "late_by_ms": (0, _LONGEST_MS),
            "duplicate_share": (0, 0.9),
            "drift_ms": (0, _LONGEST_MS),
        }
        problems = [
            f"{name} is {getattr(self, name)}; it is {low:,} to {high:,}"
            for name, (low, high) in bounds.items()
            if not low <= getattr(self, name) <= high
        ]
        if self.burst_s > self.burst_every_s:
            problems.append(f"burst_s is {self.burst_s:g}: longer than burst_every_s, {self.burst_every_s:g}")
        if problems:
            raise ConfigError(*problems)


PROFILES = {
    "steady": Profile(),
    "realistic": Profile(
        swing=0.5,
        day_s=60.0,
        burst_factor=3.0,
        burst_every_s=20.0,
        zipf=0.8,
        late_share=0.02,
        duplicate_share=0.005,
        drift_ms=2_000,
    ),
    "daily": Profile(swing=0.8, zipf=0.8, late_share=0.01, drift_ms=1_000),
    "bursty": Profile(burst_factor=10.0, burst_every_s=10.0, burst_s=1.0, zipf=1.1),
    "disorderly": Profile(late_share=0.3, late_by_ms=3_600_000, duplicate_share=0.1, drift_ms=60_000),
}
"""By name, as ``streamgage load --profile`` knows them."""


def find_profile(text: str, folder: Path) -> Profile:
    """Return the profile that is called *text*, or that the TOML file *text* in *folder* describes.

    Raises:
        ConfigError: there is neither, or the file holds something else; with every problem.
    """
    known = PROFILES.get(text)
    if known is not None:
        return known
    path = folder / text
    if not text.endswith(".toml"):
        raise ConfigError(
            f"no profile is called {text!r}; there are: {', '.join(PROFILES)}, or name a .toml file"
        )
    try:
        import tomllib  # noqa: PLC0415 - `--help` has no use for it

        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: no profile can be read of it ({error})") from error
    kinds = {each.name: each.type for each in fields(Profile)}
    problems = []
    for name, value in raw.items():
        wanted = kinds.get(name)
        if wanted is None:
            problems.append(f"{path}: {name}: a profile has {', '.join(kinds)}")
        elif type(value) is not int and (type(value) is not float or wanted is int):
            problems.append(
                f"{path}: {name} is {value!r}, not a {'whole number' if wanted is int else 'number'}"
            )
    if problems:
        raise ConfigError(*problems)
    try:
        return Profile(**raw)
    except ConfigError as error:
        raise ConfigError(*(f"{path}: {each}" for each in error.problems)) from error
