"""Text from strangers is shown, and nothing obeys it."""

import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgage.visible import sentence, visible, visible_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x9b31m", r"\x9b31m"),  # the same in one character, which 8-bit terminals obey
        ("over\rwrite\n", r"over\rwrite\n"),
        ("a\u202eb\u2066c\u200bd\ufeff", r"a\u202eb\u2066c\u200bd\ufeff"),
        ("line\u2028and\u2029paragraph", r"line\u2028and\u2029paragraph"),
        ("cut\udce9", r"cut\udce9"),  # of a file name that is not UTF-8
        ("tag\U000e0041", r"tag\U000e0041"),
        ("\x00\x7f", r"\x00\x7f"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize("text", ["", "plain", "Zürich №5, 東京 🌡️", "C:\\logs\\a", "[red]x[/]", "a|b"])
def test_what_is_printable_stays_as_it_is(text: str) -> None:
    assert visible(text) == text


@given(st.text(st.characters(codec=None)))
def test_whatever_the_text_is_it_stays_one_printable_line(text: str) -> None:
    assert visible(text).isprintable()
    assert all(each.isprintable() for each in re.split(r"[\n\t]", visible_lines(text)))


def test_no_character_of_all_that_there_are_is_obeyed() -> None:
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    assert visible(everything).isprintable()


def test_a_second_line_of_an_error_does_not_begin_as_one_of_ours() -> None:
    assert sentence("first\nstreamgage: all is well\x1b[2K\n") == (
        "first\n  streamgage: all is well" + r"\x1b[2K"
    )


def test_an_error_is_cut_where_it_quotes_a_megabyte_and_costs_no_square_of_it() -> None:
    assert len(sentence("//" * 1_000_000)) < 5_000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('no answer: "http://user:geheim@127.0.0.1:1/x"', 'no answer: "http://…@127.0.0.1:1/x"'),
        ("http://user:ge/h@im@host and https://other/", "http://…@host and https://other/"),
        ("see https://docs.aws.amazon.com/a and mail a@b", "see https://docs.aws.amazon.com/a and mail a@b"),
    ],
)
def test_an_error_tells_no_password_of_a_url(text: str, said: str) -> None:
    assert sentence(text) == said
