"""``[[mqtt]]`` of pipeline.toml: every problem is told, with its place."""

from typing import Any

import pytest

from producers.mqtt.routes_toml import subscriptions_of
from producers.mqtt.run import check_subscriptions
from producers.mqtt.settings import BrokerSettings, address_of
from streamgage.errors import ConfigError
from support.sending import ROWS

FIELDS = {"device_id": "topic:2", "metric": "topic:3", "ts": "arrival", "value": "value"}
NUMBER: dict[str, Any] = {"topic": "p/+/+", "source": "reading", "payload": "number", "fields": FIELDS}
PLUG: dict[str, Any] = {
    "topic": "spBv1.0/#",
    "source": "reading",
    "payload": "sparkplug",
    "fields": {"device_id": "device", "metric": "metric", "ts": "time", "value": "value"},
}


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ([{**NUMBER, "topic": "a/#/b"}], "mqtt[0].topic: 'a/#/b': # stands alone"),
        (
            [{**NUMBER, "source": "readin"}],
            "mqtt[0].source: no source is named 'readin'; did you mean 'reading'?",
        ),
        (
            [{**NUMBER, "payload": "xml"}],
            "mqtt[0].payload: 'xml' is not one of json, number, text, sparkplug",
        ),
        ([{**NUMBER, "fields": {**FIELDS, "metric": "topic:4"}}], "from topic:1 to topic:3"),
        ([{**NUMBER, "fields": {**FIELDS, "metric": "name"}}], "'name' is no selector; of number there are"),
        ([{**NUMBER, "fields": {**FIELDS, "x": "value"}}], "the schema has no such field"),
        ([{**NUMBER, "fields": {"value": "value"}}], "ts, device_id, metric missing"),
        ([{**NUMBER, "id": "serial"}], 'mqtt[0].id: \'serial\' is neither "message" nor "property:NAME"'),
        ([{**NUMBER, "retained": "take"}], "mqtt[0].retained: a retained message comes again"),
        ([{**NUMBER, "rebirth": 1}], "mqtt[0].rebirth: 1 is neither true nor false"),
        ([{**NUMBER, "toppic": "x"}], "mqtt[0].toppic: unknown key; did you mean 'topic'?"),
        ([NUMBER, {**NUMBER, "topic": "p/#"}], "mqtt[0] and mqtt[1]: a topic may be meant by both filters"),
        ([NUMBER, NUMBER], "mqtt[0] and mqtt[1] may both mean the same"),
        ([PLUG, {**PLUG, "id": "property:n"}], "mqtt[0] and mqtt[1] are of one topic, and differ in one of"),
    ],
)
def test_a_table_that_is_wrong_is_refused_with_its_place(tables: list[dict[str, Any]], told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        subscriptions_of(tables, ROWS.sources)
    assert told in str(refused.value)


def test_tables_of_one_topic_with_different_matches_are_one_subscription() -> None:
    tables = [{**PLUG, "match": {"metric": name}} for name in ("a", "b")]
    (subscription,) = subscriptions_of(tables, ROWS.sources)
    assert (len(subscription.routes), subscription.id) == (2, "message")


def test_what_no_definition_says_is_no_subscription() -> None:
    assert subscriptions_of([], ROWS.sources) == ()
    with pytest.raises(ConfigError, match=r"no \[\[mqtt\]\]"):
        check_subscriptions((), BrokerSettings("h"))


def test_sparkplug_is_not_shared() -> None:
    with pytest.raises(ConfigError, match="none has all of its births"):
        check_subscriptions(subscriptions_of([PLUG], ROWS.sources), BrokerSettings("h", share="g"))


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("mqtt://h", ("h", 1883, False)),
        ("mqtts://h", ("h", 8883, True)),
        ("mqtt://[::1]:9", ("::1", 9, False)),
    ],
)
def test_an_address_is_read(url: str, found: tuple[str, int, bool]) -> None:
    assert address_of(url) == found


@pytest.mark.parametrize("url", ["h", "http://h", "mqtt://", "mqtt://h/x", "mqtt://h:x", "mqtt://u:secret@h"])
def test_an_address_that_is_none_is_refused_and_no_password_is_told(url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        address_of(url)
    assert "secret" not in str(refused.value)


def test_all_that_is_wrong_with_settings_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as refused:
        BrokerSettings("h", receive_maximum=0, keepalive_s=0, share="a/b", password="x", client_id="")  # noqa: S106 - of nobody
    assert len(refused.value.problems) == 5
    assert "'x'" not in str(refused.value)
