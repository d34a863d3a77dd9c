"""Regular expressions mean what they mean elsewhere, and no pattern takes longer than it may."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.promql.errors import QueryError
from processors.promql.regex import regex

ATOMS = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", "[a-c]", r"\d", r"\W", "^", "$", "1", r"\.", "é"])
PATTERNS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map("|".join),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{0,2}", "{1,}", "*?", "+?"])).map(
            lambda pair: f"(?:{pair[0]}){pair[1]}"
        ),
        inner.map(lambda each: f"({each})"),
    ),
    max_leaves=8,
)


@given(PATTERNS, st.text("ab1.é\n", max_size=8))
def test_a_pattern_matches_what_pythons_own_does(pattern: str, text: str) -> None:
    # In RE2 a dollar is the very end; a dot is any character, as Prometheus has it.
    own = re.compile(pattern.replace("$", r"\Z"), re.DOTALL | re.ASCII)
    assert regex(pattern).matches(text) == bool(own.fullmatch(text))


@given(
    PATTERNS.filter(lambda pattern: "*" not in pattern and "{" not in pattern), st.text("ab1.", max_size=8)
)
def test_a_group_captures_what_pythons_own_does(pattern: str, text: str) -> None:
    own = re.compile(f"(?:{pattern})\\Z".replace("$", r"\Z"), re.DOTALL | re.ASCII).match(text)
    found = regex(pattern).captured(text)
    if own is None or found is None:
        assert found is None
        assert own is None
    else:
        assert found[1:] == list(own.groups())


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("", "", True),
        ("", "a", False),
        ("foo|bar", "bar", True),
        ("foo|bar", "foobar", False),
        ("(?i)foo", "FoO", True),
        ("(?i:f)oo", "Foo", True),
        ("(?i:f)oo", "FOO", False),
        ("((?i)f)oo", "FOO", False),
        ("(?s).*", "a\nb", True),
        (".*", "a\nb", True),
        ("[[:alpha:]]+", "abC", True),
        ("[[:^alpha:]]+", "123", True),
        ("[^[:alpha:]]+", "abc", False),
        ("[\\d\\s]+", "1 2", True),
        ("[\\D]+", "12", False),
        ("[]a]+", "]a", True),
        ("[a-]+", "a-", True),
        ("\\x41\\x{e9}", "Aé", True),
        ("a{2,3}", "aaaa", False),
        ("a{2,}", "aaaa", True),
        ("a{,3}", "a{,3}", True),
        ("^foo$", "foo", True),
        ("\\Afoo\\z", "foo", True),
        ("fo$o", "foo", False),
        ("a*$", "aaaa", True),
        ("(a$|ab)+", "abaaba", False),
        ("(a$|ab)+", "ababa", True),
        ("(?U)a+?", "aa", True),
        ("\\w+", "é", False),
    ],
)
def test_the_syntax_of_re2(pattern: str, text: str, matches: bool) -> None:  # noqa: FBT001 - a table
    assert regex(pattern).matches(text) == matches


@pytest.mark.parametrize(
    "pattern",
    ["(", ")", "a)", "[", "[a", "a**", "*", "a{2,1}", "a{1001}", "\\b", "\\pL", "\\Qa\\E", "(?=a)", "(?m)a", "(?P<a>b)(?P<a>c)",
     "\\1", "[b-a]", "[[:nothing:]]", "\\", "(" * 51 + ")" * 51, "a" * 20_001, "\\x{110000}"],
)  # fmt: skip
def test_what_is_no_pattern_or_not_there_is_refused(pattern: str) -> None:
    with pytest.raises(QueryError) as error:
        regex(pattern)
    assert error.value.kind == "bad_data"


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("(a+)+$", "a" * 2_000 + "!"),
        ("(a|a)*b", "a" * 2_000),
        ("(.*)*x", "a" * 2_000),
        ("(.*.*.*.*)+x", "a" * 2_000),
        ("(a?){500}a{500}", "a" * 500),
        ("((a{10}){10}){10}", "a" * 1_000),
        ("(.|a|b|[ab]|.{1,9}){1,200}x", "ab" * 1_000),
    ],
)
def test_a_hostile_pattern_is_answered_or_refused_in_time(pattern: str, text: str) -> None:
    began_s, outcome = time.process_time(), "answered"
    try:
        regex(pattern).matches(text)
        regex(pattern).captured(text)
    except QueryError as error:
        outcome = str(error)
    assert outcome == "answered" or "too many steps" in outcome or "too large" in outcome
    assert time.process_time() - began_s < 60, "Python's own takes longer than the sun"


def test_a_pattern_that_grows_beyond_its_program_is_refused() -> None:
    with pytest.raises(QueryError, match="too large: repeat less"):
        regex("((a{1000}){1000}){1000}").matches("a")


def test_a_pattern_of_texts_says_which() -> None:
    assert regex("a|b\\.c|(?:d)").texts == frozenset({"a", "b.c", "d"})
    assert regex("(a)|").texts == frozenset({"a", ""})
    for pattern in ("a|b.", "(?i)a", "a+", "^a", "[ab]"):
        assert regex(pattern).texts is None
