"""Event times: RFC 3339's corners, units, zones."""

import pytest

from producers.files.times import TimeReader
from producers.files.zones import find_zone
from streamgage.errors import ConfigError
from streamgage.formats.iso_time import parse_iso_time

NOON_MS = 1_767_614_400_000  # 2026-01-05T12:00:00Z


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [
        ("2026-01-05T12:00:00Z", NOON_MS),
        ("2026-01-05t12:00:00z", NOON_MS),
        ("20260105T120000Z", NOON_MS),
        ("2026-005T12:00:00Z", NOON_MS),
        ("2026-W02-1T12:00Z", NOON_MS),
        ("2026W021T12:00Z", NOON_MS),
        ("2026-01-05 12:00:00 UTC", NOON_MS),
        ("2026-01-05 12:00:00.1 UTC", NOON_MS + 100),
        ("2026-01-05 13:00:00 +0100", NOON_MS),
        ("2026-01-05 07:00:00 -0500 EST", NOON_MS),
        ("2026-01-05T13:00:00+01:00[Europe/Paris]", NOON_MS),
        ("2026-01-05T12:00:00,25Z", NOON_MS + 250),
        ("2026-01-05T12:00:00.999999999Z", NOON_MS + 999),
        ("2026-01-04T24:00:00Z", NOON_MS - 43_200_000),
        ("1990-12-31T23:59:60Z", 662_688_000_000),  # RFC 3339, 5.8
        ("1990-12-31T15:59:60-08:00", 662_688_000_000),
        ("1969-12-31T23:59:59.9999Z", -1),
    ],
)
def test_rfc_3339_and_iso_8601_are_read_in_all_their_spellings(text: str, expected_ms: int) -> None:
    assert TimeReader()(text) == expected_ms


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-05-05:00",  # a date of XML Schema, five hours west: fromisoformat reads five o'clock
        "2026-01-05x12:00:00",
        "2026-01-05T12:00:00 EST",
        "2026-01-05T12:00:00[America/New_York]",
        "2026-01-05T12:00:60Z",
        "2026-01-05T24:00:01Z",
        "2026-01-05T25:00:00Z",
        "2026-366",
        "2026-W54-1",
        "2026-02-29",
        "05/01/2026 12:00",
        "2026-01-05 12:00 PM",
        "2026-01-05T12:00:00+24:00",
        "٢٠٢٦-01-05",
    ],
)
def test_what_only_looks_like_iso_8601_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a time|no such|out of range|leap|offset|week|Invalid|day"):
        TimeReader()(text)
    with pytest.raises(ValueError, match=r".+"):
        parse_iso_time(text)


@pytest.mark.parametrize(
    ("unit", "text"),
    [
        ("s", "1767614400.123456"),
        ("ms", "1767614400123.456"),
        ("us", "1767614400123456"),
        ("ns", "1767614400123456789"),
    ],
)
def test_numbers_are_read_in_the_unit_that_was_named(unit: str, text: str) -> None:
    assert TimeReader(unit)(text) == NOON_MS + 123  # type: ignore[arg-type]


def test_numbers_whose_length_tells_nothing_are_refused_with_the_likely_unit() -> None:
    with pytest.raises(ValueError, match=r"its length is that of us\); say which: --time-unit"):
        TimeReader()("1767614400123456")
    reader = TimeReader()
    reader("1767614400")
    with pytest.raises(ValueError, match="looks like ms, those before it like s"):
        reader("1767614400123")


@pytest.mark.parametrize("zone", ["EST", "CET", "JST", "GMT+5", "UTC+1", "Europe/Berlin", "local"])
def test_a_zone_name_other_than_utc_is_refused_in_a_format(zone: str) -> None:
    with pytest.raises(ValueError, match="names a zone other than UTC"):
        TimeReader(form="%Y-%m-%d %H:%M:%S %Z")(f"2026-01-05 12:00:00 {zone}")


@pytest.mark.parametrize("zone", ["UTC", "utc", "GMT", "Z"])
def test_utc_by_its_names_is_read_in_a_format(zone: str) -> None:
    assert TimeReader(form="%Y-%m-%d %H:%M:%S %Z")(f"2026-01-05 12:00:00 {zone}") == NOON_MS
    assert TimeReader(form="%a %b %d %H:%M:%S %Z %Y")(f"Mon Jan 05 12:00:00 {zone} 2026") == NOON_MS


def test_a_local_time_is_of_its_zone_and_an_offset_wins() -> None:
    reader = TimeReader(zone=find_zone("Europe/Berlin"))
    assert reader("2026-01-05 13:00:00") == reader("2026-01-05T12:00:00Z") == NOON_MS
    assert TimeReader(form="%d.%m.%Y %H:%M", zone=find_zone("+05:30"))("05.01.2026 17:30") == NOON_MS
    assert reader.assumed == 0
    without = TimeReader()
    without("2026-01-05 12:00:00")
    assert without.assumed == 1


def test_the_hour_that_came_twice_is_its_first_and_the_one_that_never_was_is_refused() -> None:
    reader = TimeReader(zone=find_zone("Europe/Berlin"))
    assert reader("2026-10-25 02:30:00") == parse_iso_time("2026-10-25T00:30:00Z").local_ms
    assert reader("2026-10-25 03:00:00") == parse_iso_time("2026-10-25T02:00:00Z").local_ms
    with pytest.raises(ValueError, match="2026-03-29 02:30:00 never was in Europe/Berlin"):
        reader("2026-03-29 02:30:00")
    assert reader.local is not None
    assert (reader.local.ambiguous, reader.local.missing) == (1, 1)


@pytest.mark.parametrize("name", ["Europe/Berln", "../etc/passwd", "", "+25:00", "local"])
def test_no_zone_is_guessed(name: str) -> None:
    with pytest.raises(ConfigError, match="no such zone"):
        find_zone(name)


@pytest.mark.parametrize("text", ["-1767614400", "-1767614400000", "0000000042", "0001767614400"])
def test_numbers_before_2001_are_of_no_unit_by_their_length(text: str) -> None:
    with pytest.raises(ValueError, match="--time-unit"):
        TimeReader()(text)
    assert TimeReader("ms")(text) == int(text)
