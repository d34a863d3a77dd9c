"""How `send` ends before its time, and what it says then: of a first and a second signal, of disks that are full."""

import json
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGTERM

import pytest

from infra.commands.places import Target
from infra.commands.world import World
from producers.client.undelivered import Kept
from producers.files.delivery import END_MS
from producers.files.sending import CHUNK_MS, CHUNK_ROWS
from streamgage.errors import ConfigError
from streamgage.records import SealedRecord
from unit.infra.commands.test_send_cli import CSV_ARGS, NOW_MS, RecordingSink, Shell, VirtualClock

ROWS = 3 * CHUNK_ROWS


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def a_file(shell: Shell, rows: int = ROWS) -> str:
    return shell.write("a.csv", "timestamp,value\n" + "".join(f"2014-02-14,{n}\n" for n in range(rows)))


def events(kept: Sequence[Kept]) -> int:
    return sum(each.events for each in kept if isinstance(each, SealedRecord))


class Stuck(RecordingSink):
    """A stream that stores nothing, and says why; someone asks for an end at each of the *asked* pauses."""

    def __init__(self, *asked: int) -> None:
        super().__init__(stuck=True, waiting_for="throttled")
        self.asked = asked
        self.polls = 0

    def poll(self) -> None:
        self.polls += 1
        if self.polls in self.asked:
            self.stop.ask(SIGINT)


def test_what_is_not_stored_in_time_after_a_signal_is_kept(shell: Shell) -> None:
    shell.sink = Stuck(3)
    assert shell.send("csv", a_file(shell, 20), *CSV_ARGS) == 1
    said = shell.out.getvalue()
    assert "imported 0, quarantined 0" in said
    assert "not delivered: 20, kept in" in said
    assert f"(not stored within {END_MS // 1000} s)" in said
    assert END_MS <= shell.clock.time_ms - NOW_MS <= END_MS + 1_000
    assert events(shell.kept("a.csv.undelivered.ndjson")) == 20


def test_a_second_signal_keeps_what_is_held_at_once(shell: Shell) -> None:
    shell.sink = Stuck(3, 4)
    assert shell.send("csv", a_file(shell, 20), *CSV_ARGS) == 1
    assert "not delivered: 20, kept in" in shell.out.getvalue()
    assert "(interrupted)" in shell.out.getvalue()
    assert "streamgage: interrupted; what is not known to be stored is kept in" in shell.err.getvalue()
    assert shell.clock.time_ms - NOW_MS < 100
    assert events(shell.kept("a.csv.undelivered.ndjson")) == 20


@pytest.mark.parametrize(("number", "code"), [(SIGINT, 130), (SIGTERM, 143), (SIGHUP, 129)])
def test_the_exit_code_says_which_signal_it_was(shell: Shell, number: int, code: int) -> None:
    opened = shell._open

    def opening(target: Target) -> AbstractContextManager[RecordingSink]:
        shell.sink.stop.ask(number)
        return opened(target)

    shell._open = opening  # type: ignore[method-assign, assignment]
    assert shell.send("csv", a_file(shell), *CSV_ARGS) == code
    assert "interrupted before the first of the rows: none of them was sent" in shell.out.getvalue()
    assert shell.sink.records == []


def test_a_wide_row_is_sent_whole_or_not_at_all(shell: Shell) -> None:
    lines = "".join(f"2023-01-01T00:00:00Z,{n},{n},{n}\n" for n in range(CHUNK_ROWS))
    name = shell.write("w.csv", "ts,a,b,c\n" + lines)
    shell.sink.interrupt_at = 1
    wide = ("--source", "reading", "--set", "device_id=d", "--melt")
    assert shell.send("csv", name, *wide) == 130
    sent = len(shell.sink.records)
    assert sent % 3 == 0
    assert f"interrupted after line {sent // 3 + 1}:" in shell.out.getvalue()


def test_a_limit_is_of_rows_and_parts_none_of_them(shell: Shell) -> None:
    name = shell.write("w.csv", "ts,a,b\n" + "2023-01-01T00:00:00Z,1,2\n" * 5)
    wide = ("--source", "reading", "--set", "device_id=d", "--melt")
    assert shell.send("csv", name, *wide, "--limit", "2") == 0
    assert len(shell.sink.records) == 4


def test_of_several_files_it_is_said_in_which_to_go_on(shell: Shell) -> None:
    shell.write("b.csv", "timestamp,value\n2014-02-14,1\n")
    shell.write("c.csv", "timestamp,value\n" + "2014-02-14,1\n" * 2 * CHUNK_ROWS)
    shell.sink.interrupt_at = 2
    assert shell.send("csv", "b.csv", "c.csv", *CSV_ARGS) == 130
    line = len(shell.sink.records)  # a header in b, one in c
    assert f"interrupted after line {line:,} of c.csv" in shell.out.getvalue()
    assert (
        f"the same command, c.csv and the files behind it, with --from-line {line + 1}"
        in shell.out.getvalue()
    )


def test_progress_says_why_it_waits(shell: Shell) -> None:
    class Slow(Stuck):
        def poll(self) -> None:
            self.polls += 1
            if self.polls == 200:
                self.flush()

    shell.sink = Slow()
    assert shell.send("csv", a_file(shell, 20), *CSV_ARGS) == 0
    assert "20 events" in shell.err.getvalue()
    assert "waiting: throttled" in shell.err.getvalue()


def test_a_full_disk_for_rejects_is_told_with_what_was_sent_and_what_was_not_set_aside(shell: Shell) -> None:
    rows = "".join(f"2014-02-14,{'x' if n % 100 == 50 else n}\n" for n in range(ROWS))
    name = shell.write("a.csv", "timestamp,value\n" + rows)
    assert shell.send("csv", name, *CSV_ARGS, "--rejects", "/dev/full") == 1
    said = shell.out.getvalue()
    sent = len(shell.sink.records)
    assert f"imported {sent}, quarantined 0" in said
    assert "/dev/full: cannot be written (No space left on device)" in said
    assert "not set aside: line 52, 152, 252, 352, 452" in said
    assert f"interrupted after line {sent + 5 + 1}" in said


def test_what_can_neither_be_delivered_nor_kept_is_counted_as_lost(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise ConfigError("u: cannot be written (No space left on device)")

    monkeypatch.setattr("producers.client.undelivered.UndeliveredFile.keep", full)
    shell.sink.fail_at = 5
    assert shell.send("csv", a_file(shell), *CSV_ARGS) == 1
    assert "LOST, neither delivered nor kept: 2 (u: cannot be written" in shell.out.getvalue()
    assert f"imported {len(shell.sink.records)}, " in shell.out.getvalue()


def test_a_quiet_pipe_is_sent_on_while_it_is_open(shell: Shell) -> None:
    reading, writing = os.pipe()
    event = {"device_id": "d", "metric": "m", "ts": 1_690_000_000_000, "value": 1}
    os.write(writing, json.dumps(event).encode() + b"\n" + b'{"half')
    closed: list[str] = []
    ended = threading.Timer(
        5, os.close, [writing]
    )  # else a pipe that is not sent on would be waited for for ever

    class Closing(RecordingSink):
        def poll(self) -> None:
            is_holding = self.buffered_bytes > 0
            self.flush()
            if is_holding and ended.is_alive():
                ended.cancel()
                os.close(writing)
                closed.append("when the event was sent")

    shell.sink = Closing()
    ended.start()
    with os.fdopen(reading, "rb") as stdin:
        world = World(
            environ={},
            folder=shell.folder,
            stdin=stdin,
            out=shell.out,
            err=shell.err,
            clock=shell.clock,
            open_sink=shell._open,
            stop=shell.sink.stop,
        )
        assert shell.run_in(world, "send", "ndjson", "-", "--source", "reading") == 3
    assert closed
    assert len(shell.sink.records) == 1
    assert shell.rejects("stdin.rejects.ndjson")[0]["raw"] == '{"half'


def test_a_half_line_of_a_pipe_that_is_interrupted_is_not_sent(shell: Shell) -> None:
    reading, writing = os.pipe()
    event = json.dumps({"device_id": "d", "metric": "m", "ts": 1_690_000_000_000, "value": 12}).encode()
    os.write(
        writing, event + b"\n" + event[:-2]
    )  # what is there of it would make an event of another value, nearly

    class Asking(RecordingSink):
        def poll(self) -> None:
            self.flush()
            self.stop.ask(SIGTERM)

    shell.sink = Asking()
    try:
        with os.fdopen(reading, "rb") as stdin:
            world = World(
                environ={},
                folder=shell.folder,
                stdin=stdin,
                out=shell.out,
                err=shell.err,
                clock=shell.clock,
                open_sink=shell._open,
                stop=shell.sink.stop,
            )
            assert shell.run_in(world, "send", "ndjson", "-", "--source", "reading") == 143
    finally:
        os.close(writing)
    assert len(shell.sink.records) == 1
    assert "interrupted after line 1:" in shell.out.getvalue()


def test_a_named_pipe_is_read_once(shell: Shell) -> None:
    path = shell.folder / "fifo"
    os.mkfifo(path)
    lines = "timestamp,value\n2014-02-14,1\n2014-02-14,2\n"
    writer = threading.Thread(target=path.write_text, args=(lines,))
    writer.start()
    try:
        shell.write("b.csv", lines)
        assert shell.send("csv", "fifo", "b.csv", *CSV_ARGS) == 0
    finally:
        writer.join()
    assert len(shell.sink.records) == 4


def test_a_named_pipe_cannot_be_read_twice(shell: Shell) -> None:
    os.mkfifo(shell.folder / "fifo")
    with pytest.raises(ConfigError, match="reads files twice, and one of these is a pipe"):
        shell.send("csv", "fifo", *CSV_ARGS, "--shift-to-now")


@pytest.fixture(autouse=True)
def _threads_end() -> Iterator[None]:
    yield
    for each in threading.enumerate():
        if isinstance(each, threading.Timer):
            each.cancel()


@pytest.mark.parametrize(("row_ms", "at_once"), [(0, CHUNK_ROWS), (1, CHUNK_MS)])
def test_rows_go_in_chunks(shell: Shell, monkeypatch: pytest.MonkeyPatch, row_ms: int, at_once: int) -> None:
    class Slow(VirtualClock):
        def now_ms(self) -> int:
            self.time_ms += row_ms
            return self.time_ms

    shell.clock = Slow()
    sizes: list[int] = []
    put_many = RecordingSink.put_many

    def counting(sink: RecordingSink, source: object, events: Sequence[object], told: object) -> None:
        sizes.append(len(events))
        put_many(sink, source, events, told)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(RecordingSink, "put_many", counting)
    assert shell.send("csv", a_file(shell), *CSV_ARGS) == 0
    assert max(sizes) == at_once
    assert sum(sizes) == ROWS
    assert len(sizes) <= ROWS // at_once * 2
