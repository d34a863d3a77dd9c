"""The door of a server, over a loop and a socket that do what the test says."""

import asyncio
import errno
import resource
import socket
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from infra.local.http.descriptors import MOST_FILES, allow_many_files, connections_within
from infra.local.http.door import Door


class Loop:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.reads: Callable[[], None] | None = None
        self.later: list[Callable[[], None]] = []

    def add_reader(self, _: object, reads: Callable[[], None]) -> None:
        self.reads = reads

    def remove_reader(self, _: object) -> None:
        self.reads = None

    def call_later(self, _: float, what: Callable[[], None]) -> Any:
        self.later.append(what)
        return asyncio.TimerHandle(0, what, (), cast("asyncio.AbstractEventLoop", self))

    def get_debug(self) -> bool:
        return False


class Listening:
    """Gives sockets, or raises, in the order of *script*; then there is nobody."""

    def __init__(self, *script: OSError | socket.socket) -> None:
        self.script = list(script)
        self.is_closed = False

    def setblocking(self, _: object) -> None:
        return

    def accept(self) -> tuple[socket.socket, str]:
        if not self.script:
            raise BlockingIOError
        found = self.script.pop(0)
        if isinstance(found, OSError):
            raise found
        return found, "somewhere"

    def close(self) -> None:
        self.is_closed = True


class House:
    """Has room for *room*."""

    def __init__(self, room: int = 1_000) -> None:
        self.room, self.taken = room, list[socket.socket]()
        self.errors: list[OSError] = []

    def has_room(self) -> bool:
        return len(self.taken) < self.room

    def take(self, client: socket.socket) -> None:
        self.taken.append(client)

    def out_of_files(self, error: OSError) -> None:
        self.errors.append(error)


@pytest.fixture
def clients() -> Iterator[list[socket.socket]]:
    found = [socket.socket() for _ in range(70)]
    yield found
    for each in found:
        each.close()


def at_the_door(house: House, *script: OSError | socket.socket) -> tuple[Loop, Door, Listening]:
    loop, listening = Loop(), Listening(*script)
    door = Door(cast("asyncio.AbstractEventLoop", loop), cast("socket.socket", listening), house)
    door.open()
    return loop, door, listening


def look(loop: Loop) -> None:
    assert loop.reads is not None
    loop.reads()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_out_of_files_it_rests_and_tells_once_and_then_goes_on(
    clients: list[socket.socket], number: int
) -> None:
    house = House()
    errors = [OSError(number, "none left") for _ in range(5)]
    loop, _, _ = at_the_door(house, clients[0], *errors[:1], clients[1])
    look(loop)
    assert (house.taken, house.errors) == (clients[:1], errors[:1])
    assert (loop.reads, len(loop.later)) == (None, 1)  # it does not spin meanwhile
    loop.later.pop()()
    look(loop)
    assert house.taken == clients[:2]


def test_who_comes_while_there_is_no_room_waits_and_is_taken_later(clients: list[socket.socket]) -> None:
    house = House(room=2)
    loop, _, listening = at_the_door(house, *clients[:3])
    look(loop)
    assert (len(house.taken), len(listening.script), loop.reads) == (2, 1, None)
    house.room = 3
    loop.later.pop()()
    look(loop)
    assert len(house.taken) == 3


def test_a_flood_is_taken_a_few_at_a_time_and_one_that_is_gone_already_ends_nothing(
    clients: list[socket.socket],
) -> None:
    house = House()
    loop, _, _ = at_the_door(house, ConnectionAbortedError(), *clients)
    look(loop)
    assert 0 < len(house.taken) < len(clients)
    look(loop)
    assert len(house.taken) == len(clients)


def test_closed_it_does_not_open_again_by_itself(clients: list[socket.socket]) -> None:
    loop, door, listening = at_the_door(House(room=0), clients[0])
    look(loop)
    door.close()
    loop.later.pop()()
    assert (loop.reads, listening.is_closed) == (None, True)


def test_connections_leave_room_for_what_a_process_has_open_beside_them() -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert connections_within(10, beside=soft) == 10
    assert connections_within(10**9, beside=100) == soft - 100
    assert connections_within(10**9, beside=soft) == soft // 2


def test_the_limit_of_files_is_raised_as_far_as_the_system_allows_and_never_lowered() -> None:
    soft, hard = before = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, most - 1), hard))
        allow_many_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (most, hard)
        allow_many_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (most, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
