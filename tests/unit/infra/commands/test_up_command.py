"""``up``: a signal while it starts, and a stack in the background that does not go into the background again."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.commands.up import _PAGE, _UP, _is_detach, _said, _StopRequest

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def request_to_stop() -> Iterator[_StopRequest]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield _StopRequest()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_only_the_first_signal_interrupts_a_start_so_that_its_end_is_not_broken_off(
    number: signal.Signals, request_to_stop: _StopRequest
) -> None:
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)
    signal.raise_signal(number)
    assert request_to_stop.received


def test_once_it_is_up_a_signal_is_noted(request_to_stop: _StopRequest) -> None:
    request_to_stop.interrupts = False
    signal.raise_signal(signal.SIGTERM)
    assert request_to_stop.received


def test_the_option_is_known_also_where_it_was_cut_short() -> None:
    assert [
        each for each in ("--detach", "--det", "--de", "--d", "--dynamodb", "up", "") if _is_detach(each)
    ] == [
        "--detach",
        "--det",
        "--de",
    ]


def test_in_the_background_it_tells_what_a_person_is_to_know_and_the_page_last(tmp_path: Path) -> None:
    log = tmp_path / "up.log"
    found, up = "streamgage: stores: rewound", "streamgage: up: Kinesis …"
    page = "streamgage: page: http://127.0.0.1:1/key/"
    log.write_text(f"streamgage: building the bundle\n{found}\n{up}\n{page}\n")
    assert _said(log, _PAGE).splitlines() == [found, up, page]
    log.write_text(f"{found}\n{up}\n")
    assert _said(log, _UP).splitlines() == [found, up]
