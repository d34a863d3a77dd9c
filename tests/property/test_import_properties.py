"""Laws of the importers: nothing is dropped, numbers stay exact, no input crashes them."""

import base64
import csv
import io
import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from processors.pipeline_files import load_pipeline
from producers.files.access_log import parse_line, read_access_log
from producers.files.convert import converter
from producers.files.csv import read_csv
from producers.files.lines import read_lines
from producers.files.ndjson import read_ndjson
from producers.files.rejects import encode_reject
from producers.files.retime import Replay
from producers.files.rows import Row
from producers.files.times import time_parser
from producers.simulators.fleet import FleetConfig, fleet_events
from producers.simulators.totals import Tally
from streamgage.errors import ConfigError
from support.paths import ROOT

PIPELINE = load_pipeline(ROOT / "pipeline.toml")
# Bytes that importers care about, often, and any others.
HOSTILE = st.lists(
    st.sampled_from(
        [b'"', b"\\", b",", b"\n", b"\r", b"\0", b"[", b"]", b" ", b"{", b"}", b"\xff", b"1", b"a"]
    )
    | st.binary(max_size=3),
    max_size=60,
).map(b"".join)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@given(HOSTILE)
@settings(deadline=None)
def test_whatever_a_file_holds_each_line_is_a_row_a_bad_row_or_blank(data: bytes) -> None:
    for read in (read_ndjson, read_access_log):
        try:
            rows = list(read(read_lines(io.BytesIO(data), "f"), "f"))
        except ConfigError:
            continue
        lines = io.BytesIO(data).readlines()
        assert [row.line for row in rows] == list(range(1, len(lines) + 1))
        assert rows[-1].end_bytes == len(data)


@given(HOSTILE)
@settings(deadline=None)
def test_whatever_a_csv_file_holds_no_byte_below_its_header_is_dropped(data: bytes) -> None:
    whole = b"h\n" + data
    try:
        rows = list(read_csv(read_lines(io.BytesIO(whole), "f"), "f").rows)
    except ConfigError:
        return
    kept = b"".join(getattr(row, "raw", b"") for row in rows)
    blank = b" \t\r\n\x0b\x0c\x1c\x1d\x1e\x1f"
    assert kept.translate(None, blank) == data.translate(None, blank)
    assert rows[-1].end_bytes == len(whole)


@given(st.lists(st.lists(TEXT, min_size=2, max_size=2), min_size=1, max_size=8))
@settings(deadline=None)
def test_what_pythons_csv_writes_is_read_back(table: list[list[str]]) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerows([["a", "b"], *table])
    rows = read_csv(read_lines(io.BytesIO(out.getvalue().encode()), "f"), "f").rows
    assert [list(row.values.values()) for row in rows if isinstance(row, Row)] == table


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**63), 2**63 - 1))
@settings(deadline=None)
def test_numbers_arrive_as_they_were_written(number: float, integer: int) -> None:
    assert converter("double")(repr(number)) == number
    assert converter("long")(str(integer)) == converter("long")(integer) == integer
    assert converter(["null", "long"])(f" {integer} ") == integer


@given(
    st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30)),  # noqa: DTZ001 - hypothesis adds the zone
    st.integers(-1439, 1439),
)
@settings(deadline=None)
def test_times_keep_their_instant_to_the_ms_below(instant: datetime, offset_min: int) -> None:
    zoned = instant.replace(tzinfo=timezone(timedelta(minutes=offset_min)))
    since = zoned - datetime(1970, 1, 1, tzinfo=UTC)
    micros = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    assert time_parser()(zoned.isoformat()) == micros // 1000
    assert time_parser("s")(str(Decimal(micros) / 1_000_000)) == micros // 1000


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
@settings(deadline=None)
def test_quoted_fields_of_a_log_come_back_unescaped(path: str, referrer: str, agent: str) -> None:
    def escape(text: str) -> str:
        return text.replace("\\", "\\\\").replace('"', '\\"')

    def plain(text: str) -> str:
        return "".join(each for each in text if each >= " ")

    path, referrer, agent = plain(path).replace("?", ""), plain(referrer), plain(agent)
    line = f'h - - [17/May/2015:10:05:03 +0000] "GET /{escape(path)} HTTP/1.1" 200 1 "{escape(referrer)}" "{escape(agent)}"'
    values = parse_line(line)
    assert values["page"] == f"/{path}"
    assert values["referrer"] == (None if referrer in ("", "-") else referrer)


@given(st.binary(max_size=50))
@settings(deadline=None)
def test_a_reject_keeps_the_bytes_of_its_row(raw: bytes) -> None:
    entry = json.loads(json.dumps(encode_reject(file="f", line=1, reason="r", raw=raw)))
    kept = entry["raw"].encode() if "raw" in entry else base64.b64decode(entry["raw_base64"])
    assert kept == raw


class Ticking:
    """Time that passes only in sleep."""

    time_ms = 0

    def now_ms(self) -> int:
        return self.time_ms

    def sleep_ms(self, duration_ms: int) -> None:
        self.time_ms += duration_ms


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=30), st.floats(0.01, 1e6))
@settings(deadline=None)
def test_a_replay_never_goes_back_and_never_sends_early(due_ms: list[int], speed: float) -> None:
    """A clock that is looked at each second bounds how long may be waited here: a quarter of an hour, not millennia."""
    times_ms = [int(each * speed) for each in due_ms]
    clock = Ticking()
    replay = Replay(speed, clock=clock, flush=lambda: None)
    sent_ms = [replay.stamp(each) for each in times_ms]
    assert sent_ms == sorted(sent_ms)
    assert all(
        sent >= int((recorded - times_ms[0]) / speed)
        for sent, recorded in zip(sent_ms, times_ms, strict=True)
    )


@given(st.integers(0, 10**6), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=20)
def test_totals_do_not_depend_on_the_order_of_events(seed: int, random: Random) -> None:
    events = list(fleet_events(FleetConfig(devices=3, events=60, seed=seed, start_ms=1_700_000_000_000)))
    tallies = []
    for _ in range(2):
        tally = Tally(PIPELINE)
        for event in events:
            tally.add("reading", event)
        tallies.append(tally.totals)
        random.shuffle(events)
    assert tallies[0] == tallies[1]
