"""The bridge before a real broker: devices, broker and bridge may fail, and every total is exact."""

import signal
from pathlib import Path

import pytest

from support.devices import Devices, until
from support.mosquitto import Mosquitto, needs_mosquitto
from support.mqtt_bridge import BridgeProcess, counted_stream

pytestmark = [pytest.mark.local, needs_mosquitto]


def totals_are_exact(folder: Path, *, count: int, rounds: int) -> None:
    """The bridge is killed a third of the way, and is away for a while; the broker is ended at two thirds."""
    with (
        Mosquitto(folder / "broker") as broker,
        counted_stream() as (url, counted),
        BridgeProcess(folder / "bridge", broker.url, url) as bridge,
    ):
        until(lambda: "streamgage" in bridge.said)
        devices = Devices(broker.port, count)
        devices.send()
        until(lambda: len(counted.numbers()) == devices.sent, meanwhile=devices.drive)  # it has subscribed
        for number in range(1, rounds):
            devices.send()
            if number == rounds // 3:
                bridge.end(signal.SIGKILL)
            if number == rounds // 3 + 1:
                bridge.start()
            if number == 2 * rounds // 3:
                broker.end()
                broker.start()
        devices.settle()
        until(lambda: len(counted.numbers()) >= devices.sent, meanwhile=devices.drive)
        devices.close()
        assert bridge.end() == 0, bridge.said
    assert counted.numbers() == dict.fromkeys(range(devices.sent), 1), bridge.said
    assert not bridge.quarantine.exists()


def test_devices_count_exactly_whether_the_bridge_is_killed_or_the_broker_ends(tmp_path: Path) -> None:
    totals_are_exact(tmp_path, count=60, rounds=9)


@pytest.mark.slow
def test_a_thousand_devices_count_exactly(tmp_path: Path) -> None:
    totals_are_exact(tmp_path, count=1_000, rounds=30)
