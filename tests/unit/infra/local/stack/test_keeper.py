"""Children are kept running: with fake processes and a clock that only the test moves."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from infra.local.stack.keeper import ChildSpec, Keeper, OnEnd
from streamgage.errors import ConfigError, RetryableError

CRASH, KILLED = 3, -9


@dataclass
class FakeProcess:
    """A process that ends when the test says so, or when it is asked to, unless it is stubborn."""

    pid: int
    stubborn: bool = False
    status: int = 0
    ended: bool = False
    asked: bool = False

    def has_ended(self) -> bool:
        return self.ended

    def terminate(self) -> None:
        self.asked = True
        self.ended = self.ended or not self.stubborn

    def kill(self) -> None:
        self.ended = True

    def dies(self, status: int) -> None:
        self.ended, self.status = True, status


@dataclass
class World:
    """What a keeper sees of the machine."""

    folder: Path
    now_s: float = 1_000.0
    ready: bool = True
    refuses: OSError | None = None
    stubborn: bool = False
    processes: list[FakeProcess] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    noted: list[dict[str, int]] = field(default_factory=list)

    def keeper(self) -> Keeper:
        return Keeper(
            say=self.said.append,
            changed=lambda pids: self.noted.append(dict(pids)),
            spawn=self._spawn,
            clock_s=lambda: self.now_s,
            pause=self.passes,
        )

    def passes(self, seconds: float) -> None:
        self.now_s += seconds

    def spec(self, name: str = "child", *, on_end: OnEnd = OnEnd.AGAIN) -> ChildSpec:
        log = self.folder / f"{name}.log"
        log.write_text("a word\nthe last word\n")
        return ChildSpec(
            name=name, arguments=(), log=log, probe=self._probe, on_end=on_end, held="things", ready_within_s=60
        )  # fmt: skip

    def _probe(self) -> Callable[[], bool]:
        return lambda: self.ready

    def _spawn(self, _: ChildSpec) -> FakeProcess:
        if self.refuses is not None:
            raise self.refuses
        self.processes.append(FakeProcess(100 + len(self.processes), self.stubborn))
        return self.processes[-1]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_child_that_dies_twice_in_a_row_ends_it_with_its_last_words(world: World) -> None:
    keeper = world.keeper()
    keeper.start(world.spec())
    world.ready = False
    world.processes[-1].dies(CRASH)
    keeper.look()
    assert len(world.processes) == 1  # not at once
    world.passes(1.0)
    keeper.look()
    assert len(world.processes) == 2
    world.processes[-1].dies(CRASH)
    with pytest.raises(
        ConfigError, match=r"(?s)child ended by itself 2 times in a row \(status 3\).*the last word"
    ):
        keeper.look()


def test_a_child_that_was_steady_between_two_deaths_is_started_again_at_once_each_time(world: World) -> None:
    keeper = world.keeper()
    keeper.start(world.spec())
    for life in range(1, 20):
        keeper.look()
        world.passes(10.0)
        world.processes[-1].dies(CRASH)
        keeper.look()
        assert len(world.processes) == life + 1
        assert world.noted[-1] == {"child": world.processes[-1].pid}


def test_a_child_that_is_killed_again_and_again_gets_longer_pauses(world: World) -> None:
    keeper, starts = world.keeper(), list[float]()
    keeper.start(world.spec())
    while len(world.processes) < 6:
        known = len(world.processes)
        keeper.look()
        world.processes[-1].dies(KILLED)
        died_s = world.now_s
        while len(world.processes) == known:
            keeper.look()
            world.passes(0.05)
        starts.append(round(world.now_s - died_s - 0.05, 1))
    assert starts == [0.0, 0.2, 0.4, 0.8, 1.6]


def test_a_child_that_never_gets_ready_is_ended_and_counts_as_one_that_died(world: World) -> None:
    keeper = world.keeper()
    keeper.start(world.spec())
    world.ready = False
    for _ in range(2):
        keeper.look()
        world.passes(61.0)
        with pytest.raises(ConfigError) if len(world.processes) == 2 else nullcontext():
            keeper.look()
        assert world.processes[-1].ended
        world.passes(1.0)
        if len(world.processes) == 1:
            keeper.look()
    assert "child was not ready within 60 s; ending it" in world.said


def test_without_some_children_it_goes_on_and_with_others_it_ends(world: World) -> None:
    keeper = world.keeper()
    keeper.start(world.spec("metrics", on_end=OnEnd.WITHOUT))
    keeper.start(world.spec("aws", on_end=OnEnd.END))
    metrics, aws = world.processes
    metrics.dies(CRASH)
    keeper.look()
    world.passes(1.0)
    keeper.look()
    world.processes[-1].dies(CRASH)
    keeper.look()
    assert world.said[-1].startswith(
        "metrics ended by itself 2 times in a row (status 3); going on without it"
    )
    assert keeper.pids() == {"aws": aws.pid}
    aws.dies(KILLED)
    with pytest.raises(
        ConfigError, match=r"(?s)aws ended by itself \(signal 9\), and its things with it.*the last word"
    ):
        keeper.look()


def test_a_machine_that_starts_no_process_is_told_and_asked_again(world: World) -> None:
    keeper = world.keeper()
    keeper.start(world.spec())
    keeper.look()
    world.refuses = OSError(28, "No space left on device")
    world.processes[-1].dies(KILLED)
    for _ in range(30):
        keeper.look()
        world.passes(0.2)
    assert sum("No space left on device" in each for each in world.said) == 6  # once a second
    world.refuses = None
    world.passes(1.0)
    keeper.look()
    assert len(world.processes) == 2


def test_a_start_that_fails_or_takes_too_long_is_said_in_a_sentence(world: World) -> None:
    keeper = world.keeper()
    world.ready = False
    keeper.start(world.spec())
    with pytest.raises(RetryableError, match="child was not ready within 60 s"):
        keeper.await_ready("child")
    world.processes[-1].dies(CRASH)
    with pytest.raises(ConfigError, match=r"(?s)child did not start.*the last word"):
        keeper.await_ready("child")


def test_a_stop_is_bounded_and_goes_wave_by_wave(world: World) -> None:
    world.stubborn = True
    keeper = world.keeper()
    for name in ("aws", "mapping", "metrics", "other"):
        keeper.start(world.spec(name))
    began_s = world.now_s
    keeper.stop(("metrics", "mapping", "absent"), ("aws",))
    assert all(each.ended and each.asked for each in world.processes)
    assert world.said == ["stopping metrics, mapping", "stopping aws", "stopping other"]
    assert world.now_s - began_s == pytest.approx(30.0, abs=0.2)  # ten for each wave, not for each child
    assert keeper.pids() == {}
