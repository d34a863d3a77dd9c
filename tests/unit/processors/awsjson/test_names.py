"""Addresses of a host: known by a deadline, remembered for a while, and in need those of before."""

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Event

import pytest

from processors.awsjson.names import Address, Addresses
from processors.deadline import Deadline
from support.fakes import PLENTY
from support.lean_server import FakeTime

ONE = Address(socket.AF_INET, ("192.0.2.1", 443))
TWO = Address(socket.AF_INET, ("192.0.2.2", 443))


@dataclass
class Dns:
    """Answers in order; an error is raised."""

    answers: list[Sequence[Address] | OSError]
    asked: int = 0
    time: FakeTime = field(default_factory=FakeTime)

    def __call__(self) -> Sequence[Address]:
        answer = self.answers[self.asked]
        self.asked += 1
        if isinstance(answer, OSError):
            raise answer
        return answer

    def addresses(self) -> Addresses:
        return Addresses(
            "table.example", 443, look_up=self, clock=self.time.clock, spawn=lambda work: work(), keep_s=5
        )


def test_what_was_found_is_good_for_a_while() -> None:
    dns = Dns([[ONE], [TWO]])
    addresses = dns.addresses()
    assert [addresses.by(PLENTY) for _ in range(3)] == [[ONE]] * 3
    dns.time.now_s += 4.9
    assert addresses.by(PLENTY) == [ONE]
    assert dns.asked == 1
    dns.time.now_s += 0.1
    assert addresses.by(PLENTY) == [TWO]
    assert dns.asked == 2


def test_where_a_lookup_fails_the_last_addresses_stand_in() -> None:
    dns = Dns([[ONE], socket.gaierror("try again"), [TWO]])
    addresses = dns.addresses()
    addresses.by(PLENTY)
    dns.time.now_s += 60
    assert addresses.by(PLENTY) == [ONE]
    assert addresses.by(PLENTY) == [TWO]


def test_addresses_at_which_nobody_answered_are_not_used_again() -> None:
    dns = Dns([[ONE], [TWO], socket.gaierror("try again")])
    addresses = dns.addresses()
    addresses.by(PLENTY)
    addresses.forget()
    assert addresses.by(PLENTY) == [TWO]
    addresses.forget()
    with pytest.raises(OSError, match=r"table\.example is not found: try again"):
        addresses.by(PLENTY)


def test_a_name_server_that_hangs_is_waited_for_until_the_deadline() -> None:
    answer = Event()

    def hang() -> Sequence[Address]:
        answer.wait(30)
        return [ONE]

    addresses = Addresses("table.example", 443, look_up=hang)
    with pytest.raises(TimeoutError, match=r"table\.example was not found in time"):
        addresses.by(Deadline.after(0.05))
    answer.set()
    assert addresses.by(PLENTY) == [ONE]  # the same lookup, or one that began since


def test_a_name_server_that_hangs_is_no_reason_to_fail_where_addresses_are_known() -> None:
    started: list[Callable[[], None]] = []
    found = iter([[ONE], [TWO]])
    time, direct = FakeTime(), [True]

    def spawn(work: Callable[[], None]) -> None:
        if direct.pop():
            work()
        else:
            started.append(work)

    addresses = Addresses("table.example", 443, look_up=lambda: next(found), clock=time.clock, spawn=spawn)
    addresses.by(PLENTY)
    time.now_s += 60
    direct.append(False)
    assert addresses.by(Deadline.after(0.05)) == [ONE]
    started[0]()  # it comes late, and is remembered
    assert addresses.by(Deadline.after(0)) == [TWO]


@pytest.mark.parametrize(
    ("host", "family"),
    [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6), ("169.254.170.23", socket.AF_INET)],
)
def test_an_address_is_looked_up_nowhere(host: str, family: int) -> None:
    def look_up() -> Sequence[Address]:
        raise AssertionError

    (address,) = Addresses(host, 80, look_up=look_up).by(Deadline.after(0))
    assert (address.family, address.place[:2]) == (family, (host, 80))


def test_this_machine_is_found_by_its_name() -> None:
    assert {each.place[0] for each in Addresses("localhost", 80).by(PLENTY)} <= {"127.0.0.1", "::1"}
