"""docs/mqtt.md stays true: its tables and its lines of mosquitto's, before real brokers, with TLS and a password."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from support.devices import until
from support.mosquitto import Mosquitto, needs_mosquitto
from support.mqtt_bridge import READINGS, BridgeProcess, counted_stream
from support.paths import ROOT

pytest.importorskip("google.protobuf")
from support.sparkplug import payload

pytestmark = [pytest.mark.local, needs_mosquitto]

GUIDE = (ROOT / "docs" / "mqtt.md").read_text(encoding="utf-8")
TABLES = re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)
(LINES,) = re.findall(r"```conf\n(.*?)```", GUIDE, re.DOTALL)
TS = 1_767_614_400_000


class Person:
    """A client that publishes, and notes what it hears of *topics*."""

    def __init__(self, port: int, *topics: str, ca_file: Path | None = None) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self._client = paho.Client(CallbackAPIVersion.VERSION2, "person")
        if ca_file is not None:
            self._client.tls_set(str(ca_file))
            self._client.username_pw_set("bridge", "s3cret")
        self._client.on_message = lambda _, __, found: self.heard.append((found.topic, bytes(found.payload)))
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        until(self._client.is_connected)
        for topic in topics:
            self._client.subscribe(topic)

    def say(self, topic: str, content: bytes | str, *, retain: bool = False) -> None:
        """Return once the broker has it."""
        self._client.publish(topic, content, qos=1, retain=retain).wait_for_publish(120)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def secured(folder: Path) -> tuple[str, ...]:
    """Make a certificate and a password, and return the broker's lines that ask for them."""
    folder.mkdir()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", str(folder / "key"), "-out", str(folder / "cert")],
        check=True, capture_output=True,
    )  # fmt: skip
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(folder / "users"), "bridge", "s3cret"], check=True)
    (folder / "password").write_text("s3cret\n", encoding="utf-8")
    return (
        f"certfile {folder / 'cert'}",
        f"keyfile {folder / 'key'}",
        "allow_anonymous false",
        f"password_file {folder / 'users'}",
    )


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here, which makes the certificate")
def test_the_tables_of_the_guide_mean_what_it_says(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    lines = secured(keys)
    options = (
        "--username",
        "bridge",
        "--password-file",
        str(keys / "password"),
        "--ca-file",
        str(keys / "cert"),
    )
    with Mosquitto(tmp_path / "broker", *lines) as broker, counted_stream() as (url, counted):
        address = broker.url.replace("mqtt:", "mqtts:")
        person = Person(broker.port, "status", "spBv1.0/+/NCMD/#", ca_file=keys / "cert")
        person.say("plant/d1/temperature", "1", retain=True)  # before anybody subscribes: it is no news
        with BridgeProcess(
            tmp_path / "bridge", address, url, "--status-topic", "status", *options, mqtt="\n".join(TABLES)
        ) as bridge:
            until(lambda: "1 retained" in bridge.said)
            counted.is_down = True
            for content in ("20", "n/a", "21"):
                person.say("plant/d1/temperature", content)
            for _ in range(2):
                person.say("telemetry/d2", json.dumps({"seq": 17, "metric": "power", "ts": TS, "value": 4}))
            data = {"alias": 7, "double_value": 30.0}
            person.say("spBv1.0/plant/DDATA/n/d3", payload(data, seq=5))
            until(lambda: any(topic == "spBv1.0/plant/NCMD/n" for topic, _ in person.heard))
            person.say("spBv1.0/plant/NBIRTH/n", payload(seq=0))
            birth = {"name": "temperature", "alias": 7, "datatype": 10, "double_value": 0.0}
            person.say("spBv1.0/plant/DBIRTH/n/d3", payload(birth, seq=1))
            person.say("spBv1.0/plant/DDATA/n/d3", payload({**data, "double_value": 31.0}, seq=2))
            until(lambda: "11 messages, 4 events" in bridge.said)  # its own command among them
            assert counted.numbers() == {}
            assert bridge.end() == 0, bridge.said  # what is in the spool is sent by the next
            until(
                lambda: [said for topic, said in person.heard if topic == "status"] == [b"online", b"offline"]
            )
            counted.is_down = False
            bridge.start()
            until(lambda: len(counted.numbers()) == 4)
            assert bridge.end() == 0, bridge.said
        person.close()
    assert counted.numbers() == {20: 1, 21: 1, 4: 1, 31: 1}
    kept = [json.loads(line) for line in bridge.quarantine.read_text(encoding="utf-8").splitlines()]
    assert [each["topic"] for each in kept] == ["plant/d1/temperature", "spBv1.0/plant/DDATA/n/d3"]
    assert "'n/a' is no number" in kept[0]["reasons"][0]
    assert "alias 7" in kept[1]["reasons"][0]


def test_what_a_broker_at_the_edge_forwards_is_counted(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "upstream") as upstream, counted_stream() as (url, counted):
        lines = LINES.replace("127.0.0.1:1883", f"127.0.0.1:{upstream.port}").splitlines()
        with (
            Mosquitto(tmp_path / "edge", "allow_anonymous true", *lines) as edge,
            BridgeProcess(tmp_path / "bridge", upstream.url, url, "--mqtt-version", "3.1.1") as bridge,
        ):
            person = Person(edge.port)
            sent = 0

            def send_another() -> None:
                nonlocal sent
                person.say("plant/d1/reading", json.dumps({"id": sent, "ts": TS, "value": float(sent)}))
                sent += 1

            until(counted.numbers, meanwhile=send_another)  # until both have subscribed, nobody hears it
            person.close()
            assert bridge.end() == 0, bridge.said
    assert set(counted.numbers().values()) == {1}


def test_what_a_person_has_to_change_ends_it_with_2(tmp_path: Path) -> None:
    with (
        Mosquitto(tmp_path / "broker", "allow_anonymous false") as broker,
        counted_stream() as (url, _),
        BridgeProcess(tmp_path / "bridge", broker.url, url) as bridge,
    ):
        assert bridge.wait() == 2
    assert "it refuses the connection: Not authorized" in bridge.said
    assert "Traceback" not in bridge.said


def test_the_tables_of_the_guide_are_tables() -> None:
    assert len(TABLES) == 3
    assert all(tomllib.loads(each)["mqtt"] for each in (*TABLES, READINGS))
