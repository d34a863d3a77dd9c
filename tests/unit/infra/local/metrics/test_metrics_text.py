"""The exposition format, against its rules and against a reader written from them."""

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.local.metrics.text import Family, Kind, Sample, gauge, render

LINE = re.compile(
    r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:\\.|[^"\\\n])*",?)*)\})? (\S+)'
)
PAIR = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:\\.|[^"\\\n])*)"')
ESCAPED = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


def unescape(text: str) -> str:
    return re.sub(r"\\.", lambda match: ESCAPED[match[0]], text)


def parse(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return the samples of *text*, read as "Comments, help text, and type information" says."""
    assert text == "" or text.endswith("\n")
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for line in text.removesuffix("\n").split("\n") if text else []:
        if line.startswith("# "):
            assert line.split(" ")[1] in ("HELP", "TYPE")
            continue
        match = LINE.fullmatch(line)
        assert match, line
        labels = tuple((name, unescape(value)) for name, value in PAIR.findall(match[2] or ""))
        found[match[1], labels] = float(match[3])
    return found


def test_a_family_is_its_help_its_type_and_its_samples() -> None:
    family = Family("http_requests_total", "counter", "Requests.", (Sample(3, {"code": "200"}), Sample(1.5)))
    assert render([family]) == (
        "# HELP http_requests_total Requests.\n"
        "# TYPE http_requests_total counter\n"
        'http_requests_total{code="200"} 3\n'
        "http_requests_total 1.5\n"
    )


def test_a_family_without_samples_says_nothing() -> None:
    assert render([Family("a", "gauge", "A.", ())]) == ""


def test_help_escapes_backslash_and_line_feed_and_labels_the_quote_too() -> None:
    text = render([Family("a", "gauge", 'one\\two\n"three"', (Sample(1, {"path": 'C:\\DIR\n"x"'}),))])
    assert '# HELP a one\\\\two\\n"three"\n' in text
    assert 'a{path="C:\\\\DIR\\n\\"x\\""} 1\n' in text


@given(
    value=st.floats(allow_nan=False),
    labels=st.dictionaries(st.sampled_from(["a", "shard", "code_1"]), st.text(), max_size=3),
)
@settings(deadline=None, max_examples=150)
def test_whatever_is_in_labels_and_values_comes_back(value: float, labels: dict[str, str]) -> None:
    text = render([Family("m", "gauge", "M.", (Sample(value, labels),))])
    assert parse(text) == {("m", tuple(sorted(labels.items()))): value}


def test_values_that_are_no_numbers_are_written_as_go_reads_them() -> None:
    assert render([gauge("a", "A.", math.nan)]).endswith("a NaN\n")
    assert render([gauge("a", "A.", math.inf)]).endswith("a +Inf\n")
    assert render([gauge("a", "A.", -math.inf)]).endswith("a -Inf\n")


@pytest.mark.parametrize(
    ("name", "kind"),
    [("requests", "counter"), ("depth_total", "gauge"), ("1st", "gauge"), ("a-b", "gauge"), ("", "gauge")],
)
def test_names_that_a_server_would_refuse_or_misread_are_refused(name: str, kind: Kind) -> None:
    with pytest.raises(ValueError, match="name"):
        Family(name, kind, "Help.", ())


@pytest.mark.parametrize("label", ["__name__", "1st", "a-b", ""])
def test_labels_that_a_server_would_refuse_are_refused(label: str) -> None:
    with pytest.raises(ValueError, match="not names of labels"):
        Family("a", "gauge", "A.", (Sample(1, {label: "x"}),))


def test_a_summary_has_sums_and_counts_and_nothing_else_has() -> None:
    samples = (Sample(2.5, {}, "_sum"), Sample(2, {}, "_count"))
    assert "s_sum 2.5\ns_count 2\n" in render([Family("s", "summary", "S.", samples)])
    with pytest.raises(ValueError, match="suffix"):
        Family("s", "summary", "S.", (Sample(1),))
    with pytest.raises(ValueError, match="suffix"):
        Family("s", "gauge", "S.", (Sample(1, {}, "_sum"),))


def test_one_name_and_one_combination_of_labels_are_there_once() -> None:
    with pytest.raises(ValueError, match="two families"):
        render([gauge("a", "A.", 1), gauge("a", "A.", 2)])
    with pytest.raises(ValueError, match="two samples"):
        render([Family("a", "gauge", "A.", (Sample(1, {"x": "1"}), Sample(2, {"x": "1"})))])
