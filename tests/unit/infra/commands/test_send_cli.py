"""`streamgage send` and `streamgage simulate`, from arguments to what reaches the stream, the disk and the screen."""

import argparse
import base64
import csv
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from signal import SIGINT
from typing import Any

import pytest

from infra.commands import send, simulate
from infra.commands.places import Target, find_target
from infra.commands.world import World
from infra.local.http.secret import keep_credentials
from processors.pipeline_files import load_pipeline
from producers.client.batcher import UnsendableRecord
from producers.client.encoder import encoder_of
from producers.client.entry import user_records_of
from producers.client.many import put_one_by_one
from producers.client.undelivered import Kept, UndeliveredReader
from producers.files.stop import Stop
from producers.simulators.totals import read_totals
from streamgage.definition.pipeline import Source
from streamgage.errors import ConfigError, DeliveryError
from streamgage.formats.avro import AvroReader, Event
from streamgage.records import SealedRecord, UserRecord
from support.paths import ROOT

DATA = Path(os.environ.get("STREAMGAGE_DATA", ROOT.parent / "shared" / "data"))
PIPELINE = load_pipeline(ROOT / "pipeline.toml")
NOW_MS = 1_700_000_000_000

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"the recorded data is not at {DATA}")


@dataclass
class RecordingSink:
    """A stream that keeps what was put; told to, it gives up, refuses, or is interrupted."""

    records: list[UserRecord] = field(default_factory=list)
    fail_at: int | None = None
    flush_fails: bool = False
    interrupt_at: int | None = None
    max_bytes: int = 1_000_000
    buffer: list[UserRecord] = field(default_factory=list)
    stop: Stop = field(default_factory=Stop)
    waiting_for: str | None = None
    stuck: bool = False  # nothing is ever stored
    keep: Callable[[Sequence[SealedRecord]], None] | None = None

    @property
    def buffered_bytes(self) -> int:
        return len(self.buffer)

    def poll(self) -> None:
        if not self.stuck:
            self.flush()

    def put_sealed(self, record: SealedRecord) -> None:
        for each in user_records_of(record):
            self.put(each)

    def divert(self, keep: Callable[[Sequence[SealedRecord]], None]) -> None:
        self.keep, held, self.buffer = keep, self.buffer, []
        keep([SealedRecord(each.partition_key, each.data, each.explicit_hash_key) for each in held])

    def send(self, source: Source, event: Event) -> None:
        self.put(encoder_of(source).user_record(event))

    def put_many(self, source: Source, events: Sequence[Event], taken_so_far: Callable[[int], None]) -> None:
        given_up: list[DeliveryError] = []

        def take(event: Event) -> None:
            try:
                self.send(source, event)
            except DeliveryError as error:
                given_up.append(error)

        put_one_by_one(events, take, taken_so_far)
        if given_up:
            raise given_up[0]

    def put(self, record: UserRecord) -> None:
        if len(record.data) > self.max_bytes:
            raise UnsendableRecord(f"{len(record.data)} bytes are too many")
        if self.keep is not None:
            self.keep([SealedRecord(record.partition_key, record.data, record.explicit_hash_key)])
            return
        self.buffer.append(record)
        seen = len(self.records) + len(self.buffer)
        if seen == self.interrupt_at:
            self.stop.ask(SIGINT)
        if seen == self.fail_at:
            self.fail_at = None
            given_up, self.buffer = self.buffer[:2], self.buffer[2:]
            raise DeliveryError("two were not delivered", given_up)

    def flush(self) -> None:
        flushed, self.buffer = self.buffer, []
        if self.flush_fails and flushed:
            raise DeliveryError("nor were these", flushed)
        self.records += flushed


@dataclass
class VirtualClock:
    time_ms: int = NOW_MS

    def now_ms(self) -> int:
        return self.time_ms

    def sleep_ms(self, duration_ms: int) -> None:
        self.time_ms += duration_ms


@dataclass
class Shell:
    """Runs commands in a folder of their own, against a recording stream."""

    folder: Path
    sink: RecordingSink = field(default_factory=RecordingSink)
    clock: VirtualClock = field(default_factory=VirtualClock)
    environ: Mapping[str, str] = field(default_factory=dict)
    targets: list[Target] = field(default_factory=list)
    out: io.StringIO = field(default_factory=io.StringIO)
    err: io.StringIO = field(default_factory=io.StringIO)

    def run(self, *arguments: str, stdin: bytes = b"") -> int:
        world = World(
            environ=self.environ,
            folder=self.folder,
            stdin=io.BytesIO(stdin),
            out=self.out,
            err=self.err,
            clock=self.clock,
            open_sink=self._open,
            stop=self.sink.stop,
        )
        return self.run_in(world, *arguments)

    def run_in(self, world: World, *arguments: str) -> int:
        if "--stream" not in arguments and arguments[:2] == ("send", "ndjson"):
            arguments = (*arguments, "--stream", "s", "--pipeline", str(ROOT / "pipeline.toml"))
        parser = argparse.ArgumentParser()
        verbs = parser.add_subparsers(required=True)
        send.add_parser(verbs, world=world)
        simulate.add_parser(verbs, world=world)
        args = parser.parse_args(arguments)
        code: int = args.run(args)
        return code

    @contextmanager
    def _open(self, target: Target) -> Iterator[RecordingSink]:
        self.targets.append(target)
        yield self.sink

    def send(self, *arguments: str, stdin: bytes = b"") -> int:
        return self.run(
            "send", *arguments, "--stream", "s", "--pipeline", str(ROOT / "pipeline.toml"), stdin=stdin
        )

    def simulate(self, *arguments: str) -> int:
        return self.run("simulate", *arguments, "--stream", "s", "--pipeline", str(ROOT / "pipeline.toml"))

    def write(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text, encoding="utf-8")
        return name

    def kept(self, name: str) -> list[Kept]:
        with (self.folder / name).open("rb") as file:
            return list(UndeliveredReader(file, name))

    def rejects(self, name: str) -> list[dict[str, Any]]:
        lines = (self.folder / name).read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def events(self, source: str) -> list[dict[str, Any]]:
        reader = AvroReader(PIPELINE.sources[source].schema)
        return [reader.decode(record.data) for record in self.sink.records]

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


CSV = "timestamp,value\n2014-02-14 14:30:00,0.1\n2014-02-14 14:31:00,0.2\n2014-02-14 14:29:00,0.3\n"
CSV_ARGS = ("--source", "reading", "--set", "device_id=m", "--set", "metric=t", "--map", "ts=timestamp")
FIRST_MS = 1_392_388_200_000


def test_a_csv_file_arrives_whole_and_leaves_no_file_behind(shell: Shell) -> None:
    assert shell.send("csv", shell.write("a.csv", CSV), *CSV_ARGS) == 0
    assert shell.events("reading")[0] == {
        "device_id": "m",
        "metric": "t",
        "ts": FIRST_MS,
        "value": 0.1,
        "tags": None,
    }
    assert [record.partition_key for record in shell.sink.records] == ["m"] * 3
    assert "imported 3, quarantined 0," in shell.out.getvalue()
    assert shell.files() == ["a.csv"]


def test_bad_rows_are_quarantined_with_place_and_reason_and_the_rest_is_sent(shell: Shell) -> None:
    rows = ["2014-02-14,nan", "2014-02-14,1e999", "1.2.3,5", "2014-02-14,5", "", "2014-02-14", "2014-02-14,x"]
    name = shell.write("a.csv", "timestamp,value\n" + "\n".join(rows) + "\n")
    assert shell.send("csv", name, *CSV_ARGS) == 3
    assert len(shell.sink.records) == 1
    rejects = shell.rejects("a.csv.rejects.ndjson")
    assert [(each["line"], each["raw"]) for each in rejects] == [
        (2, "2014-02-14,nan\n"),
        (3, "2014-02-14,1e999\n"),
        (4, "1.2.3,5\n"),
        (7, "2014-02-14\n"),
        (8, "2014-02-14,x\n"),
    ]
    assert "not a finite number" in rejects[0]["reason"]
    assert all(each["file"] == "a.csv" for each in rejects)
    said = shell.out.getvalue()
    assert f"imported 1, quarantined 5 (see {shell.folder / 'a.csv.rejects.ndjson'})" in said
    assert "line 2: value is nan" in said
    assert "blank lines skipped: 1" in said


def test_bytes_that_are_no_text_are_kept_as_they_are(shell: Shell) -> None:
    (shell.folder / "a.ndjson").write_bytes(b'{"x": "\xff"}\n')
    assert shell.send("ndjson", "a.ndjson", "--source", "reading") == 3
    (reject,) = shell.rejects("a.ndjson.rejects.ndjson")
    assert base64.b64decode(reject["raw_base64"]) == b'{"x": "\xff"}\n'


def test_rejects_of_an_earlier_run_are_never_touched(shell: Shell) -> None:
    name = shell.write("a.csv", "timestamp,value\n2014-02-14,x\n")
    for _ in range(3):
        assert shell.send("csv", name, *CSV_ARGS, "--rejects", "bad.ndjson") == 3
    assert shell.files() == ["a.csv", "bad-2.ndjson", "bad-3.ndjson", "bad.ndjson"]
    assert "bad-3.ndjson" in shell.out.getvalue()


def test_a_record_that_kinesis_cannot_take_is_quarantined_too(shell: Shell) -> None:
    shell.sink.max_bytes = 1000
    line = json.dumps({"device_id": "d" * 257, "metric": "m", "ts": FIRST_MS, "value": 1})
    large = json.dumps({"device_id": "d", "metric": "m" * 2000, "ts": FIRST_MS, "value": 1})
    assert shell.send("ndjson", "-", "--source", "reading", stdin=f"{line}\n{large}\n".encode()) == 3
    reasons = [each["reason"] for each in shell.rejects("stdin.rejects.ndjson")]
    assert "a partition key has 1 to 256" in reasons[0]
    assert "too many" in reasons[1]


@pytest.mark.parametrize(
    ("content", "arguments", "problem"),
    [
        (
            CSV,
            ("--source", "reading", "--map", "ts=time"),
            "no column 'time'; the columns are 'timestamp', 'value'",
        ),
        (CSV, ("--source", "redaing"), "no source 'redaing'; its sources are reading, click"),
        (CSV, (*CSV_ARGS, "--set", "x"), "--set 'x' is not FIELD=VALUE"),
        (CSV, (*CSV_ARGS, "--speed", "0"), "a number above 0"),
        (CSV, (*CSV_ARGS, "--limit", "0"), "at least 1"),
        (CSV, (*CSV_ARGS, "--delimiter", ";;"), "one character"),
        ("", CSV_ARGS, "a.csv is empty"),
        ("timestamp,value\n", CSV_ARGS, "a header and no rows"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_sent(
    shell: Shell, content: str, arguments: tuple[str, ...], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        shell.send("csv", shell.write("a.csv", content), *arguments)
    assert shell.targets == []
    assert shell.files() == ["a.csv"]


def test_a_file_that_is_not_there_or_no_file_is_refused(shell: Shell) -> None:
    with pytest.raises(ConfigError, match=r"no\.csv: cannot be read \(No such file"):
        shell.send("csv", "no.csv", *CSV_ARGS)
    with pytest.raises(ConfigError, match=r"cannot be read \(Is a directory"):
        shell.send("csv", ".", *CSV_ARGS)


def test_a_dry_run_reports_and_sends_nothing_and_needs_no_stream(shell: Shell) -> None:
    name = shell.write("a.csv", CSV)
    path = str(ROOT / "pipeline.toml")
    assert shell.run("send", "csv", name, *CSV_ARGS, "--dry-run", "--pipeline", path) == 0
    assert "would import 3" in shell.out.getvalue()
    assert shell.targets == []


def test_a_limit_counts_rows_good_and_bad(shell: Shell) -> None:
    name = shell.write("a.csv", CSV.replace("0.1", "x"))
    assert shell.send("csv", name, *CSV_ARGS, "--limit", "2") == 3
    assert len(shell.sink.records) == 1


def test_ignored_columns_and_mapped_columns_without_rows_are_named_once(shell: Shell) -> None:
    line = json.dumps({"device_id": "d", "metric": "m", "ts": FIRST_MS, "value": 1, "extra": 1})
    stdin = f"{line}\n{line}\n".encode()
    assert shell.send("ndjson", "-", "--source", "reading", "--map", "tags.a=sit", stdin=stdin) == 0
    assert shell.out.getvalue().count("extra") == 1
    assert "mapped columns that no row had: sit" in shell.out.getvalue()


@pytest.mark.parametrize("from_stdin", [False, True])
def test_shift_to_now_makes_the_latest_sendable_event_now(shell: Shell, *, from_stdin: bool) -> None:
    text = CSV + "2099-01-01,nan\n2099-01-01,x\n"
    name = "-" if from_stdin else shell.write("a.csv", text)
    assert shell.send("csv", name, *CSV_ARGS, "--shift-to-now", stdin=text.encode()) == 3
    assert [event["ts"] - NOW_MS for event in shell.events("reading")] == [-60_000, 0, -120_000]


def test_speed_replays_and_stamps_the_moment_of_sending(shell: Shell) -> None:
    assert shell.send("csv", shell.write("a.csv", CSV), *CSV_ARGS, "--speed", "60") == 0
    assert [event["ts"] - NOW_MS for event in shell.events("reading")] == [0, 1_000, 1_000]


@pytest.mark.parametrize(("flush_fails", "stored"), [(False, [*range(2, 10)]), (True, [])])
def test_what_was_not_delivered_is_kept_with_all_that_follows_and_can_be_sent_again(
    shell: Shell, *, flush_fails: bool, stored: list[int]
) -> None:
    lines = [json.dumps({"device_id": f"d{n}", "metric": "m", "ts": FIRST_MS, "value": n}) for n in range(10)]
    shell.sink.fail_at, shell.sink.flush_fails = 5, flush_fails
    stdin = "\n".join(lines).encode()
    assert shell.send("ndjson", "-", "--source", "reading", stdin=stdin) == 1
    assert [event["value"] for event in shell.events("reading")] == stored
    said = shell.out.getvalue()
    assert f"imported {len(stored)}, quarantined 0" in said
    assert f"not delivered: {10 - len(stored)}, kept in" in said
    assert "streamgage send undelivered" in said
    assert shell.err.getvalue().count("delivery failed") == 1
    again = Shell(shell.folder)
    assert again.run("send", "undelivered", "stdin.undelivered.ndjson", "--stream", "s") == 0
    assert [event["value"] for event in again.events("reading")] == [n for n in range(10) if n not in stored]
    assert f"sent {10 - len(stored)}, quarantined 0" in again.out.getvalue()


def test_what_fails_only_at_the_end_is_kept_too(shell: Shell) -> None:
    shell.sink.flush_fails = True
    assert shell.send("csv", shell.write("a.csv", CSV), *CSV_ARGS) == 1
    assert len(shell.kept("a.csv.undelivered.ndjson")) == 3


def test_undelivered_lines_that_hold_no_record_are_set_aside(shell: Shell) -> None:
    good = {"partition_key": "k", "explicit_hash_key": str(2**127), "data": "AAE="}
    lines = [
        json.dumps(good),
        "{}",
        '{"partition_key": "k", "data": "!"}',
        "x",
        "null",
        '{"partition_key": 1, "data": ""}',
    ]
    name = shell.write("u.ndjson", "\n".join(lines))
    assert shell.run("send", "undelivered", name, "--stream", "s") == 3
    assert shell.sink.records == [UserRecord("k", b"\x00\x01", 2**127)]
    assert [each["line"] for each in shell.rejects("u.ndjson.rejects.ndjson")] == [2, 3, 4, 5, 6]


def test_a_second_failure_leaves_in_the_file_what_is_still_to_be_sent(shell: Shell) -> None:
    line = json.dumps({"partition_key": "k", "data": "AAE="})
    name = shell.write("u.undelivered.ndjson", f"{line}\n{line}\n")
    shell.sink.fail_at = 2
    assert shell.run("send", "undelivered", name, "--stream", "s") == 1
    assert shell.files() == ["u.undelivered.ndjson"]
    assert len(shell.kept("u.undelivered.ndjson")) == 2
    assert "counts twice" in shell.err.getvalue()


def test_ctrl_c_delivers_what_was_read_and_says_where_it_stopped(shell: Shell) -> None:
    name = shell.write("a.csv", "timestamp,value\n" + "".join(f"2014-02-14,{n}\n" for n in range(1_200)))
    shell.sink.interrupt_at = 3
    assert shell.send("csv", name, *CSV_ARGS) == 130
    said = shell.out.getvalue()
    sent = len(shell.sink.records)
    assert f"interrupted after line {sent + 1}: the rows below it were not sent" in said
    assert f"imported {sent}, quarantined 0" in said
    shell.sink.stop, shell.sink.interrupt_at = Stop(), None
    assert shell.send("csv", name, *CSV_ARGS, "--from-line", str(sent + 2)) == 0
    assert f"rows before line {sent + 2:,} skipped: {sent}" in shell.out.getvalue()
    assert [event["value"] for event in shell.events("reading")] == [*range(1_200)]


def test_an_access_log_becomes_clicks(shell: Shell) -> None:
    line = '1.2.3.4 - - [17/May/2015:10:05:03 +0000] "HEAD /a?b=c HTTP/1.1" 200 - "-" "agent"'
    assert shell.send("access-log", "-", stdin=f"{line}\n{line[:-1]}\n".encode()) == 3
    assert shell.events("click") == [
        {
            "visitor_id": "1.2.3.4",
            "page": "/a",
            "referrer": None,
            "action": "view",
            "ts": 1_431_857_103_000,
            "status": 200,
            "bytes": None,
            "properties": {"method": "HEAD", "user_agent": "agent", "query": "b=c"},
        }
    ]
    assert "ignored" not in shell.out.getvalue()


def test_plain_progress_is_a_line_every_few_seconds(shell: Shell) -> None:
    rows = "".join(f"{FIRST_MS // 1000 + 10 * n},1\n" for n in range(20))
    assert shell.send("csv", shell.write("a.csv", "ts,value\n" + rows), *CSV_ARGS[:-2], "--speed", "10") == 0
    lines = [line for line in shell.err.getvalue().splitlines() if line.startswith("a.csv: ")]
    assert len(lines) == 3  # 19 s of replay
    assert "events" in lines[0]


def test_simulated_readings_arrive_and_their_totals_are_written(shell: Shell) -> None:
    arguments = ("fleet", "--devices", "5", "--events", "300", "--seed", "3", "--totals", "t.json")
    assert shell.simulate(*arguments) == 0
    events = shell.events("reading")
    assert len(events) == 300
    assert min(event["ts"] for event in events) >= NOW_MS - 200_000
    assert max(event["ts"] for event in events) < NOW_MS
    totals = read_totals(shell.folder / "t.json")
    days = [row for (_, label, _), row in totals["device_metrics"].items() if label == "1d"]
    assert sum(row.events for row in days) == 300
    assert totals["page_views"] == {}


def test_simulated_clicks_end_now(shell: Shell) -> None:
    assert shell.simulate("visitors", "--visitors", "50", "--events", "200") == 0
    assert max(event["ts"] for event in shell.events("click")) in (NOW_MS - 1, NOW_MS - 2)


def test_what_a_simulator_wrote_to_a_file_can_be_sent_from_it(shell: Shell) -> None:
    arguments = ("fleet", "--devices", "5", "--events", "60", "--start", "2023-01-01T00:00:00Z")
    assert shell.simulate(*arguments, "--out", "r.ndjson") == 0
    assert shell.targets == []
    assert shell.send("ndjson", "r.ndjson", "--source", "reading") == 0
    from_file, shell.sink.records = shell.sink.records, []
    assert shell.simulate(*arguments) == 0
    assert shell.sink.records == from_file


def test_a_rate_paces_a_simulation(shell: Shell) -> None:
    assert shell.simulate("fleet", "--devices", "5", "--events", "61", "--rate", "20/s") == 0
    assert shell.clock.time_ms == NOW_MS + 3_000


@pytest.mark.parametrize(
    "arguments",
    [("--rate", "fast"), ("--rate", "-1"), ("--period", "10"), ("--start", "soon"), ("--devices", "0")],
)
def test_a_simulation_that_cannot_be_is_refused(shell: Shell, arguments: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError):
        shell.simulate("fleet", *arguments)


def test_interrupted_simulations_keep_what_they_sent_and_claim_no_totals(shell: Shell) -> None:
    shell.sink.interrupt_at = 10
    assert shell.simulate("fleet", "--events", "1200", "--totals", "t.json") == 130
    assert f"sent {len(shell.sink.records)} reading events" in shell.out.getvalue()
    assert len(shell.sink.records) == 500
    assert shell.files() == []


def test_a_simulation_goes_on_into_a_file_once_something_was_given_up(shell: Shell) -> None:
    shell.sink.fail_at = 300
    assert shell.simulate("fleet", "--events", "1200") == 1
    kept = [name for name in shell.files() if "undelivered" in name]
    assert len(kept) == 1
    assert "sent 498 reading events" in shell.out.getvalue()
    assert "not delivered: 702" in shell.out.getvalue()
    assert len(shell.sink.records) == 498


class TestTarget:
    """Where to send."""

    def find(self, folder: Path, **options: Any) -> Target:
        given = {"stream": None, "endpoint_url": None, "region": None, "environ": {}, **options}
        return find_target(**given, folder=folder)

    @pytest.fixture
    def stack(self, tmp_path: Path) -> Path:
        (tmp_path / ".streamgage").mkdir()
        keep_credentials(tmp_path / ".streamgage" / "credentials.json")
        stack = {
            "endpoints": {"kinesis": "http://127.0.0.1:1"},
            "region": "r",
            "stream": "own",
            "credentials_file": str(tmp_path / ".streamgage" / "credentials.json"),
        }
        (tmp_path / ".streamgage" / "stack.json").write_text(json.dumps(stack))
        (tmp_path / "deep" / "down").mkdir(parents=True)
        return tmp_path

    def test_the_stack_of_the_folder_or_one_above_is_taken(self, stack: Path) -> None:
        credentials = keep_credentials(stack / ".streamgage" / "credentials.json")
        own = Target("own", "http://127.0.0.1:1", "r", local=True, credentials=credentials)
        assert self.find(stack) == self.find(stack / "deep" / "down") == own
        assert self.find(stack, stream="own") == own

    def test_the_environment_may_name_it(self, stack: Path) -> None:
        environ = {"STREAMGAGE_HOME": str(stack / ".streamgage")}
        assert self.find(Path("/"), environ=environ).stream == "own"

    def test_another_stream_is_not_the_stacks(self, stack: Path) -> None:
        assert self.find(stack, stream="prod") == Target("prod")
        assert self.find(stack, stream="own", endpoint_url="http://x") == Target("own", "http://x")

    def test_no_stack_and_no_name_says_what_to_do(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="start one with `streamgage up`"):
            self.find(tmp_path, environ={"STREAMGAGE_HOME": str(tmp_path)})
        with pytest.raises(ConfigError, match="--stream NAME"):
            self.find(tmp_path, endpoint_url="http://x", environ={"STREAMGAGE_HOME": str(tmp_path)})

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"stream": 1, "endpoints": {"kinesis": "u"}}'])
    def test_a_damaged_stack_file_is_named(self, stack: Path, text: str) -> None:
        (stack / ".streamgage" / "stack.json").write_text(text)
        with pytest.raises(ConfigError, match=r"stack\.json"):
            self.find(stack)


@needs_data
def test_the_recorded_access_log_is_imported_but_for_the_line_that_is_cut_off(shell: Shell) -> None:
    path = DATA / "clickstream" / "apache_combined.log"
    assert shell.send("access-log", str(path)) == 3
    (reject,) = shell.rejects("apache_combined.log.rejects.ndjson")
    assert reject["line"] == 8899
    expected: Counter[tuple[str, int]] = Counter()
    sizes = 0
    for line in path.read_text(encoding="utf-8").splitlines():
        parts = line.split('"')
        if len(parts) == 7:
            hour = datetime.strptime(parts[0].split("[")[1][:14], "%d/%b/%Y:%H").replace(tzinfo=UTC)
            expected[parts[1].split(" ")[1].split("?")[0], int(hour.timestamp() * 1000)] += 1
            size = parts[2].split()[1]
            sizes += 0 if size == "-" else int(size)
    clicks = shell.events("click")
    assert Counter((click["page"], click["ts"] // 3_600_000 * 3_600_000) for click in clicks) == expected
    assert sum(click["bytes"] or 0 for click in clicks) == sizes
    assert len(clicks) + 1 == 10_000


@needs_data
@pytest.mark.parametrize("path", sorted((DATA / "telemetry").glob("*.csv")), ids=lambda path: path.stem)
def test_every_recorded_reading_arrives_as_it_was_written(shell: Shell, path: Path) -> None:
    assert shell.send("csv", str(path), *CSV_ARGS, "--map", "value=value", "--as-is") == 0
    with path.open(encoding="utf-8", newline="") as file:
        expected = [
            (int(datetime.fromisoformat(when).replace(tzinfo=UTC).timestamp()) * 1000, float(value))
            for when, value in list(csv.reader(file))[1:]
        ]
    assert [(event["ts"], event["value"]) for event in shell.events("reading")] == expected
