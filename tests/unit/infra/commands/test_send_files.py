"""`streamgage send` on everyday files: what arrives, and what is said of them."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from signal import SIGINT

import pytest

from producers.files.stop import Stop
from streamgage.errors import ConfigError
from unit.infra.commands.test_send_cli import NOW_MS, Shell

READING = ("--source", "reading", "--set", "device_id=m", "--set", "metric=t")


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def sent(shell: Shell) -> list[tuple[str, int, float]]:
    return [(event["metric"], event["ts"], event["value"]) for event in shell.events("reading")]


AIR = "Date;Time;CO(GT);T;;\n10/03/2004;18.00.00;2,6;13,6;;\n10/03/2004;19.00.00;-200;13,3;;\n;;;;;\n"
AIR_MS = 1_078_941_600_000  # 2004-03-10T18:00:00Z
AIR_ARGS = ("--map", "ts=Date+Time", "--time-format", "%d/%m/%Y %H.%M.%S", "--decimal", ",", "--na", "-200")


def test_a_wide_spreadsheet_of_a_comma_country_is_melted(shell: Shell) -> None:
    source = ("--source", "reading", "--set", "device_id=air")
    assert shell.send("csv", shell.write("air.csv", AIR), *source, *AIR_ARGS, "--melt") == 0
    assert sent(shell) == [("CO(GT)", AIR_MS, 2.6), ("T", AIR_MS, 13.6), ("T", AIR_MS + 3_600_000, 13.3)]
    said = shell.out.getvalue()
    for part in (
        "imported 3, quarantined 0",
        "missing values: 1",
        "delimiter ';'",
        "rows of empty cells skipped: 1",
    ):
        assert part in said
    assert "first row (line 2): device_id=air ts=2004-03-10T18:00:00.000Z metric=CO(GT) value=2.6" in said


def test_a_cell_of_a_wide_row_that_is_no_number_costs_itself_and_names_its_column(shell: Shell) -> None:
    name = shell.write("w.csv", "ts,a,b,note\n2023-01-01T00:00:00Z,1,x,hello\n")
    source = ("--source", "reading", "--set", "device_id=d", "--melt", "metric=value", "--leave-out", "note")
    assert shell.send("csv", name, *source) == 3
    assert [each[0] for each in sent(shell)] == ["a"]
    assert "line 2: column 'b': value: 'x' is not a number" in shell.out.getvalue()


@pytest.mark.parametrize("extra", [("--set", "metric=t"), ("--map", "value=a")])
def test_what_melt_fills_is_filled_by_nothing_else(shell: Shell, extra: tuple[str, str]) -> None:
    name = shell.write("w.csv", "ts,a,b\n2023-01-01,1,2\n")
    with pytest.raises(ConfigError, match="filled by --melt"):
        shell.send(
            "csv", name, "--source", "reading", "--set", "device_id=d", "--melt", "metric=value", *extra
        )


def test_a_missing_value_is_no_fault_but_a_missing_time_or_key_is(shell: Shell) -> None:
    name = shell.write("a.csv", "ts,value,device_id\n2023-01-01Z,NA,d\n2023-01-01T00:00:00Z,NA,d\nNA,1,d\n")
    assert shell.send("csv", name, "--source", "reading", "--set", "metric=t", "--na", "NA") == 3
    assert "missing values: 1" in shell.out.getvalue()
    assert [each["line"] for each in shell.rejects("a.csv.rejects.ndjson")] == [2, 4]


def test_micros_and_zones_are_read_as_they_were_named(shell: Shell) -> None:
    name = shell.write("us.csv", "ts,value\n1672531200123456,1\n")
    assert shell.send("csv", name, *READING) == 3
    assert "--time-unit s|ms|us|ns" in shell.out.getvalue()
    assert shell.send("csv", name, *READING, "--time-unit", "us") == 0
    berlin = shell.write(
        "b.csv", "ts,value\n2022-10-30 02:30:00,1\n2022-03-27 02:30:00,2\n2022-10-30 12:00,3\n"
    )
    assert shell.send("csv", berlin, *READING, "--timezone", "Europe/Berlin") == 3
    assert [each[1] for each in sent(shell)] == [1_672_531_200_123, 1_667_089_800_000, 1_667_127_600_000]
    said = shell.out.getvalue()
    assert "came twice, taken as the first (summer time): 1" in said
    assert "never were, quarantined: 1" in said


def test_est_is_not_utc(shell: Shell) -> None:
    name = shell.write("est.csv", "ts,value\n2023-01-05 12:00:00 EST,1\n")
    assert shell.send("csv", name, *READING, "--time-format", "%Y-%m-%d %H:%M:%S %Z") == 3
    assert shell.sink.records == []
    assert "names a zone other than UTC" in shell.out.getvalue()


def test_an_hour_of_twelve_without_its_half_of_the_day_is_refused(shell: Shell) -> None:
    with pytest.raises(ConfigError, match="%I is an hour of twelve"):
        shell.send(
            "csv", shell.write("a.csv", "ts,value\n1,1\n"), *READING, "--time-format", "%d.%m.%Y %I:%M"
        )


def test_what_the_consumer_would_quarantine_is_not_sent(shell: Shell) -> None:
    now = datetime.fromtimestamp(NOW_MS / 1000, UTC) + timedelta(hours=9)
    rows = [f"{now - timedelta(seconds=n):%Y-%m-%d %H:%M:%S},20,m" for n in range(50)]
    rows += ["2023-01-01,9.969209968386869e+36,m", f"2023-01-01,1,{'k' * 250}", "2023-01-01,20.5,m"]
    name = shell.write("a.csv", "\n".join(["ts,value,device_id", *rows]) + "\n")
    long = ("--set", f"metric={'x' * 1900}")
    assert shell.send("csv", name, "--source", "reading", *long) == 3
    assert len(shell.sink.records) == 1
    reasons = [each["reason"] for each in shell.rejects("a.csv.rejects.ndjson")]
    assert len(reasons) == 52
    assert all(each.startswith("future: ") and "--timezone" in each for each in reasons[:50])
    assert reasons[50].startswith("bad_value: value is 9.969209968386869e+36 at scale 9")
    assert "--na" in reasons[50]
    assert reasons[51].startswith("bad_key: a key of device_metrics takes")


def test_the_first_row_is_shown_by_a_dry_run_and_by_an_import(shell: Shell) -> None:
    line = '1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.1" 200 5 "-" "agent"\n'
    name = shell.write("a.log", "Apr 12 09:00:01 web1 nginx: " + line)
    path = str(Path(__file__).parents[4] / "pipeline.toml")
    assert shell.run("send", "access-log", name, "--dry-run", "--pipeline", path) == 0
    shown = (
        "first row (line 1): visitor_id=1.2.3.4 page=/a action=view ts=2015-05-17T10:05:03.000Z status=200"
    )
    assert shown in shell.out.getvalue()
    assert "read as: combined behind syslog 1" in shell.out.getvalue()
    shell.out.truncate(0)
    assert shell.send("access-log", name) == 0
    assert shown in shell.out.getvalue()


def test_mapped_columns_of_rows_that_failed_elsewhere_were_there(shell: Shell) -> None:
    name = shell.write("a.csv", "when,v\nyesterday,1\n")
    assert shell.send("csv", name, *READING, "--map", "ts=when", "--map", "value=v") == 3
    assert "no row had" not in shell.out.getvalue()
    assert "line 2: ts (column 'when'): 'yesterday' is not a time" in shell.out.getvalue()


def test_keys_that_look_alike_are_mentioned(shell: Shell) -> None:
    rows = "".join(
        f"2023-01-01,1,{each}\n" for each in ("d1", "d1 ", "e2\u00a0", "caf\u00e9", "cafe\u0301", "\ufeffd1")
    )
    name = shell.write("a.csv", "ts,value,device_id\n" + rows)
    assert shell.send("csv", name, "--source", "reading", "--set", "metric=t") == 0
    said = shell.out.getvalue()
    assert "device_id: 'd1 ' and 'd1' look alike and are two keys" in said
    assert "device_id: 'e2\\xa0' has blanks around it" in said
    assert "'cafe\\u0301' and 'café' look alike" in said
    assert "'\\ufeffd1' and 'd1' look alike" in said


def test_so_are_keys_of_a_rollup_that_are_no_partition_key(shell: Shell) -> None:
    name = shell.write("a.csv", "ts,value,metric\n2023-01-01,1,t\n2023-01-01,1,t \n")
    assert shell.send("csv", name, "--source", "reading", "--set", "device_id=d") == 0
    assert "metric: 't ' and 't' look alike and are two keys" in shell.out.getvalue()


def test_several_files_are_one_import_with_one_progress(shell: Shell) -> None:
    (shell.folder / "a.csv.gz").write_bytes(gzip.compress(b"ts,value\n2023-01-01T00:00:00Z,1\n"))
    shell.write("b.csv", "value;ts\n2;2023-01-02T00:00:00Z\nx;2023-01-02T00:00:00Z\n")
    shell.write("c.csv", "")
    assert shell.send("csv", "*.csv*", *READING) == 3
    assert [each[2] for each in sent(shell)] == [1.0, 2.0]
    (reject,) = shell.rejects("csv.rejects.ndjson")
    assert (reject["file"], reject["line"]) == ("b.csv", 3)
    said = shell.out.getvalue()
    assert said.count("imported") == 1
    assert "b.csv, line 3: value: 'x' is not a number" in said
    assert "c.csv is empty" in shell.err.getvalue()


def test_one_of_several_files_that_cannot_be_understood_stops_all_before_anything_is_sent(
    shell: Shell,
) -> None:
    shell.write("a.csv", "ts,value\n2023-01-01,1\n")
    shell.write("b.csv", "when,value\n2023-01-01,1\n")
    with pytest.raises(ConfigError, match=r"b\.csv: ts: no column fills"):
        shell.send("csv", "a.csv", "b.csv", *READING)
    assert shell.targets == []


def test_shift_to_now_looks_at_all_files(shell: Shell) -> None:
    shell.write("a.csv", "ts,value\n2020-01-02,1\n")
    shell.write("b.csv", "ts,value\n2020-01-01,1\n")
    assert shell.send("csv", "a.csv", "b.csv", *READING, "--shift-to-now") == 0
    assert [each[1] - NOW_MS for each in sent(shell)] == [0, -86_400_000]


class TestFollow:
    """A file that grows while it is sent; the clock's sleeps are when it does."""

    def line(self, number: int) -> str:
        event = {"device_id": "d", "metric": "m", "ts": 1_690_000_000_000 + number, "value": number}
        return json.dumps(event) + "\n"

    def go(self, shell: Shell, *steps: object) -> int:
        pending = list(steps)
        shell.sink.stop = Stop()

        def sleep_ms(duration_ms: int) -> None:
            assert shell.sink.buffer == []  # what was read is sent before anyone waits
            if not pending:
                shell.sink.stop.ask(SIGINT)
                return
            step = pending.pop(0)
            if callable(step):
                step()
            else:
                with (shell.folder / "f.ndjson").open("a") as file:
                    file.write(str(step))

        shell.clock.sleep_ms = sleep_ms  # type: ignore[method-assign]  # the script is the clock
        return shell.send("ndjson", "f.ndjson", "--source", "reading", "--follow")

    def values(self, shell: Shell) -> list[float]:
        return [event["value"] for event in shell.events("reading")]

    def test_each_line_is_sent_once_over_rotation_and_restart(self, shell: Shell) -> None:
        path = shell.folder / "f.ndjson"
        path.write_text(self.line(0) + self.line(1)[:20])
        rotate = lambda: path.rename(shell.folder / "f.ndjson.1")  # noqa: E731 - a step
        assert self.go(shell, self.line(1)[20:], rotate, self.line(2)) == 130
        assert self.values(shell) == [0, 1, 2]
        path.write_text(path.read_text() + self.line(3))
        path.rename(shell.folder / "f.ndjson.2")
        path.write_text(self.line(4))
        assert self.go(shell, self.line(5)) == 130
        assert self.values(shell) == [0, 1, 2, 3, 4, 5]

    def test_what_cannot_be_followed_is_refused(self, shell: Shell) -> None:
        shell.write("f.ndjson", self.line(1))
        for bad in (
            ("-", "--follow"),
            ("f.ndjson", "--follow", "--shift-to-now"),
            ("f.ndjson", "-", "--follow"),
        ):
            with pytest.raises(ConfigError):
                shell.send("ndjson", *bad, "--source", "reading")
