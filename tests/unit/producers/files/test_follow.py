"""A file that grows: whole lines, rotation, truncation, and the place that is kept. Time passes in steps of a script."""

import gzip
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from producers.files.follow import Follow, Position, PositionFile
from streamgage.errors import ConfigError


class Script:
    """What happens to the file at each wait; after the last step someone presses Ctrl-C."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self._steps: Iterator[Callable[[], object]] = iter(steps)

    def sleep_ms(self, duration_ms: int) -> None:
        assert duration_ms > 0
        step = next(self._steps, None)
        if step is None:
            raise KeyboardInterrupt
        step()


def append(path: Path, text: str) -> Callable[[], object]:
    def step() -> None:
        with path.open("a") as file:
            file.write(text)

    return step


def rotate(path: Path, *, copy: bool = False) -> Callable[[], object]:
    def step() -> None:
        if copy:
            path.with_suffix(".1").write_text(path.read_text())
            path.write_text("")
        else:
            path.rename(path.with_suffix(".1"))

    return step


def followed(
    path: Path, *steps: Callable[[], object], position: Position | None = None
) -> list[tuple[int, str]]:
    """Return the lines that were read, each with the number of its generation, and what was done of it before."""
    lines: list[tuple[int, str]] = []
    follow = Follow(path, position, clock=Script(*steps))
    try:
        for number, generation in enumerate(follow.generations()):
            while line := generation.readline(100):
                lines.append((number, line.decode()))
    except KeyboardInterrupt:
        pass
    return lines


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.log"


def test_lines_come_whole_however_they_are_written(path: Path) -> None:
    path.write_text("a\nb")
    assert followed(path, append(path, "c"), append(path, "\nd\ne")) == [(0, "a\n"), (0, "bc\n"), (0, "d\n")]


def test_a_file_that_is_not_there_yet_is_waited_for(path: Path) -> None:
    assert followed(path, lambda: None, append(path, "a\n")) == [(0, "a\n")]


def test_a_rotated_file_is_read_to_its_end_before_the_next(path: Path) -> None:
    path.write_text("a\n")
    steps = (
        append(path, "b\n"),
        rotate(path),
        append(path.with_suffix(".1"), "c\nd"),
        append(path, "e\n"),
        append(path, "f\n"),
    )
    assert followed(path, *steps) == [(0, "a\n"), (0, "b\n"), (0, "c\n"), (0, "d"), (1, "e\n"), (1, "f\n")]


def test_what_was_written_before_the_file_was_moved_is_not_lost(path: Path) -> None:
    path.write_text("a\n")

    def at_once() -> None:
        append(path, "b\n")()
        rotate(path)()
        append(path, "c\n")()

    assert followed(path, at_once) == [(0, "a\n"), (0, "b\n"), (1, "c\n")]


def test_what_is_written_and_moved_between_a_read_and_a_look_is_not_lost(path: Path) -> None:
    path.write_text("a\n")
    pending = [append(path, "b\n"), rotate(path), append(path, "c\n")]

    def stopped() -> bool:  # asked between the read that found nothing and the look at the name
        while pending:
            pending.pop(0)()
        return False

    lines: list[bytes] = []
    for generation in Follow(path, None, clock=Script(), stopped=stopped).generations():
        while line := generation.readline(100):
            lines.append(line)
            if line == b"c\n":
                break
        if lines[-1] == b"c\n":
            break
    assert lines == [b"a\n", b"b\n", b"c\n"]


def test_a_file_that_is_cut_to_nothing_begins_anew(path: Path) -> None:
    path.write_text("a\nb\n")
    assert followed(path, rotate(path, copy=True), append(path, "c\n")) == [
        (0, "a\n"),
        (0, "b\n"),
        (1, "c\n"),
    ]


def kept_after(path: Path, done_bytes: int) -> Position:
    for generation in Follow(path, None, clock=Script()).generations():
        return generation.position(done_bytes)
    raise AssertionError


def begins(path: Path, position: Position) -> list[int]:
    follow, found = Follow(path, position, clock=Script()), []
    for generation in follow.generations():
        found.append(generation.begin_bytes)
        if generation.path == path:
            return found
    raise AssertionError


def test_the_place_is_known_again_also_after_a_rotation(path: Path) -> None:
    path.write_text("a\nb\n")
    position = kept_after(path, 2)
    assert begins(path, position) == [2]
    rotate(path)()
    path.write_text("c\n")
    assert begins(path, position) == [2, 0]


def test_another_file_of_the_same_number_is_begun_at_its_beginning(path: Path) -> None:
    path.write_text("a\nb\n")
    position = kept_after(path, 4)
    path.write_text("x\ny\nz\n")  # the inode stays
    assert begins(path, position) == [0]
    path.write_text("a\n")
    assert begins(path, position) == [0]


def test_a_position_is_kept_whole_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    file = PositionFile(tmp_path / "p.json")
    assert file.load() is None
    file.save(Position(7, "2:ab", 42))
    assert file.load() == Position(7, "2:ab", 42)
    assert [each.name for each in tmp_path.iterdir()] == ["p.json"]
    file.path.write_text("{")
    with pytest.raises(ConfigError, match=r"p\.json: not a position"):
        file.load()


def gone(path: Path) -> None:
    path.unlink()


def compressed(path: Path) -> None:
    path.with_suffix(".log.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()


def cut(path: Path) -> None:
    path.with_suffix(".1").write_bytes(path.read_bytes())
    path.write_text("")


def moved(path: Path) -> None:
    path.rename(path.with_suffix(".1"))


def kept(_: Path) -> None:
    """Leave the file where it is."""


@pytest.mark.parametrize(
    ("happens", "is_told"), [(gone, True), (compressed, True), (cut, True), (moved, False), (kept, False)]
)
def test_a_file_that_cannot_be_found_again_is_told_once(
    path: Path, happens: Callable[[Path], None], *, is_told: bool
) -> None:
    path.write_text("a\nb\n")
    position = kept_after(path, 2)
    happens(path)
    append(path, "c\n")()
    told: list[str] = []
    follow = Follow(path, position, clock=Script(rotate(path), append(path, "d\n")), warn=told.append)
    with suppress(KeyboardInterrupt):
        for generation in follow.generations():
            while generation.readline(100):
                pass
    assert ["until byte 2, nor is that one beside it" in each for each in told] == [True] * is_told
