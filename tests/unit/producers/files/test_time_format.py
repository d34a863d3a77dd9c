"""A format by which strptime would pass over a part of the time is refused, before a row is read."""

import pytest

from producers.files.time_format import check_time_format
from streamgage.errors import ConfigError


@pytest.mark.parametrize(
    ("form", "word"),
    [
        ("%Y-%m-%d %H:%M %p", "%H it is passed over"),  # 01:00 PM would be one o'clock at night
        ("%Y-%m-%d %I:%M", "which half of the day"),
        ("%Y-%W", "a week without its day"),  # every week would be the first of January
        ("%Y-%U", "a week without its day"),
        ("%G-W%V", "a week without its day"),
        ("%a %Y %H:%M", "a day of the week alone"),
        ("%d/%m %H:%M", "no year"),
        ("%H:%M:%S", "no year"),
        ("%d %H:%M %Y", "a day without its month"),
        ("%Y %H:%M", "a time of day without its day"),
        ("%Y-%m %H", "a time of day without its day"),
        ("%s", "--time-unit s"),
        ("%Y-%m-%Q", "bad directive"),
        ("%Y-%m-%d%", "stray %"),
        ("", "no year"),
    ],
)
def test_a_format_that_says_no_instant_is_refused(form: str, word: str) -> None:
    with pytest.raises(ConfigError, match="--time-format") as caught:
        check_time_format(form)
    assert word in str(caught.value)


@pytest.mark.parametrize(
    "form",
    [
        "%d.%m.%Y_%H:%M",
        "%Y-%m-%d %I:%M:%S.%f %p",
        "%m/%d/%y %I:%M%p",
        "%a, %d %b %Y %H:%M:%S %z",
        "%A %d %B %Y",
        "%Y-%j %H:%M",
        "%Y-%W-%w",
        "%G-W%V-%u",
        "%Y-%m",
        "%Y",
        "%c",
        "%x %X",
        "100%% %Y-%m-%d",
        "%Y%m%dT%H%M%SZ",
    ],
)
def test_a_format_that_says_one_is_taken(form: str) -> None:
    check_time_format(form)
