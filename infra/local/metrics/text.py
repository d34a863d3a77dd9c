"""Prometheus' text exposition format: what is measured, as text that a Prometheus server reads.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/ (checked 2026-11-21).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Kind = Literal["counter", "gauge", "summary"]
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")  # two underscores are Prometheus' own
_SUMMARY = ("_sum", "_count")


@dataclass(frozen=True, slots=True)
class Sample:
    """One value. ``suffix`` is "" but in a summary, where it is ``_sum`` or ``_count``."""

    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """All samples of one name. A counter's name ends in ``_total``; units are in names, in base units (seconds)."""

    name: str
    kind: Kind
    help: str
    samples: tuple[Sample, ...]

    def __post_init__(self) -> None:
        """Refuse what a Prometheus server would refuse or misread. Raises: ValueError, a mistake of the caller."""
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is not a name of a metric")
        if (self.kind == "counter") is not self.name.endswith("_total"):
            raise ValueError(f"{self.name} is a {self.kind}: names of counters, and no others, end in _total")
        for sample in self.samples:
            wrong = [label for label in sample.labels if not _LABEL.fullmatch(label)]
            if wrong:
                raise ValueError(f"{self.name}: {', '.join(wrong)}: not names of labels")
            if (sample.suffix in _SUMMARY) is not (self.kind == "summary"):
                raise ValueError(f"{self.name}: the suffix {sample.suffix!r} is not one of a {self.kind}")


def gauge(name: str, help_text: str, value: float) -> Family:
    """Return a gauge of one value."""
    return Family(name, "gauge", help_text, (Sample(value),))


def render(families: Iterable[Family]) -> str:
    """Return the text of *families*; those without a sample are left out.

    Raises:
        ValueError: two families of one name, or two samples of one name and labels: "Only one TYPE line may exist for a
            given metric name", and each line "must have a unique combination of a metric name and labels".
    """
    lines: list[str] = []
    names: set[str] = set()
    for family in families:
        if family.name in names:
            raise ValueError(f"two families are called {family.name}")
        names.add(family.name)
        if family.samples:
            lines += [f"# HELP {family.name} {_help(family.help)}", f"# TYPE {family.name} {family.kind}"]
            lines += _lines(family)
    return "".join(f"{line}\n" for line in lines)  # "The last line must end with a line feed character."


def _lines(family: Family) -> list[str]:
    texts: dict[str, str] = {}
    for sample in family.samples:
        pairs = ",".join(f'{name}="{_label(value)}"' for name, value in sorted(sample.labels.items()))
        series = f"{family.name}{sample.suffix}" + (f"{{{pairs}}}" if pairs else "")
        if series in texts:
            raise ValueError(f"two samples of {series}")
        texts[series] = f"{series} {_number(sample.value)}"
    return list(texts.values())


def _number(value: float) -> str:
    """Return *value* as Go's ParseFloat reads it: NaN, +Inf and -Inf are valid values."""
    if value != value:  # noqa: PLR0124 - which is how NaN is told
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) else repr(float(value))


def _help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
