"""A broker by paho: one connection at a time, driven by its caller, so that an acknowledgement is of the connection it is for."""

import ssl
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from producers.mqtt.messages import Message
from producers.mqtt.settings import BrokerSettings
from streamgage.errors import ConfigError, RetryableError

_QOS = 1
_CONNECT_S = 10.0
_FILTERS = 8
"""Of one SUBSCRIBE: AWS IoT Core ends the connection of who sends more.

Source: https://docs.aws.amazon.com/general/latest/gr/iot-core.html (checked 2026-11-29)
"""
# Malformed, protocol error, version, client id, user name or password, not authorized, banned, authentication method.
_FOR_A_PERSON = {0x81, 0x82, 0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C}
_ONLINE, _OFFLINE = b"online", b"offline"


class BrokerGone(RetryableError):
    """There is no connection, or none any more. The session is the broker's to keep: connect again."""

    code = "broker"


class Listener(Protocol):
    """Who is told, from within ``connect`` and ``step``."""

    def connected(self, *, is_resumed: bool) -> None:
        """A connection is there; *is_resumed*: the broker had kept the session."""

    def received(self, message: Message) -> None:
        """A message came."""


class Broker:
    """The client of one broker. One thread calls it, and does so at least every half ``keepalive_s``."""

    def __init__(
        self,
        settings: BrokerSettings,
        topics: Sequence[str],
        listener: Listener,
        *,
        now_ms: Callable[[], int],
    ) -> None:
        """Do not connect yet.

        Args:
            settings: which broker, and how.
            topics: filters to subscribe to, with QoS 1.
            listener: who is told.
            now_ms: the time of day, ms since the epoch.

        Raises:
            ConfigError: a certificate cannot be read.
        """
        self._settings, self._listener, self._now_ms = settings, listener, now_ms
        share = f"$share/{settings.share}/" if settings.share else ""
        self._topics = [share + each for each in topics]
        self._was_up = self.is_up = False
        self._failure: BrokerGone | ConfigError | None = None
        self._subscribed: dict[int, list[str]] = {}
        self._client = self._made()

    def connect(self) -> None:
        """Ask for a connection; ``is_up`` once the broker took it. Raises: BrokerGone, ConfigError."""
        settings, properties = self._settings, None
        self.is_up, self._failure = False, None
        more: dict[str, Any] = {}
        if settings.version == "5":
            properties = _properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = settings.session_expiry_s
            properties.ReceiveMaximum = settings.receive_maximum
            more = {"clean_start": False, "properties": properties}
        try:
            self._client.connect(settings.host, settings.port, settings.keepalive_s, **more)
        except ssl.SSLCertVerificationError as error:
            self._raise(f"its certificate is not to be trusted: {error.verify_message}", for_a_person=True)
        except (OSError, ValueError) as error:
            self._raise(getattr(error, "strerror", None) or str(error) or type(error).__name__)

    def step(self, timeout_s: float) -> None:
        """Read and write what there is, for *timeout_s* at most where there is nothing.

        Raises:
            BrokerGone: the connection has ended, or was refused.
            ConfigError: it was refused, or a subscription was, for a reason that stays.
        """
        code = self._client.loop(timeout_s)
        if self._failure is not None:
            raise self._failure
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._raise(paho.error_string(code).rstrip("."))

    def acknowledge(self, packet_id: int) -> bool:
        """Acknowledge a message that came on this connection; return whether that is on its way."""
        return self.is_up and self._client.ack(packet_id, _QOS) == MQTTErrorCode.MQTT_ERR_SUCCESS

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish once, whether or not it arrives."""
        self._client.publish(topic, payload, qos=0)

    def disconnect(self) -> None:
        """End the connection in order; the broker keeps the session, and goes on with what was not acknowledged."""
        if self.is_up and self._settings.status_topic is not None:
            self._client.publish(self._settings.status_topic, _OFFLINE, qos=0, retain=True)
        self.is_up = False
        properties = None
        if self._settings.version == "5":
            properties = _properties(PacketTypes.DISCONNECT)
            properties.SessionExpiryInterval = self._settings.session_expiry_s
        self._client.disconnect(properties=properties)

    def _made(self) -> paho.Client:
        settings = self._settings
        is_5 = settings.version == "5"
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            settings.client_id,
            clean_session=None if is_5 else False,
            protocol=MQTTProtocolVersion.MQTTv5 if is_5 else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = _CONNECT_S
        if settings.username is not None:
            client.username_pw_set(settings.username, settings.password)
        if settings.tls:
            try:
                client.tls_set(
                    ca_certs=None if settings.ca_file is None else str(settings.ca_file),
                    certfile=None if settings.cert_file is None else str(settings.cert_file),
                    keyfile=None if settings.key_file is None else str(settings.key_file),
                )
            except (OSError, ValueError) as error:
                raise ConfigError(f"a certificate or key cannot be read: {error}") from error
        if settings.status_topic is not None:
            client.will_set(settings.status_topic, _OFFLINE, qos=_QOS, retain=True)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_subscribe = self._on_subscribe
        return client

    def _on_connect(self, client: paho.Client, _: Any, flags: Any, reason: Any, __: Any) -> None:
        if reason.is_failure:
            self._failure = self._refusal(
                f"it refuses the connection: {reason}", reason.value in _FOR_A_PERSON
            )
            return
        self.is_up = True
        self._listener.connected(is_resumed=flags.session_present)
        self._subscribed = {}
        for at in range(0, len(self._topics), _FILTERS):
            some = self._topics[at : at + _FILTERS]
            if self._settings.version == "5":  # 1: what is retained comes with a subscription that is new
                options = SubscribeOptions(qos=_QOS, retainHandling=1)
                _, packet_id = client.subscribe([(each, options) for each in some])
            else:
                _, packet_id = client.subscribe([(each, _QOS) for each in some])
            self._subscribed[packet_id or 0] = some
        if self._settings.status_topic is not None:
            client.publish(self._settings.status_topic, _ONLINE, qos=0, retain=True)

    def _on_disconnect(self, _: paho.Client, __: Any, ___: Any, reason: Any, ____: Any) -> None:
        was_up, self.is_up = self.is_up, False
        if self._failure is None and was_up:
            self._failure = self._refusal(f"the connection has ended: {reason}", for_a_person=False)

    def _on_subscribe(
        self, _: paho.Client, __: Any, packet_id: int, reasons: Sequence[Any], ___: Any
    ) -> None:
        for topic, reason in zip(self._subscribed.pop(packet_id, ()), reasons, strict=False):
            if reason.is_failure:
                self._failure = self._refusal(
                    f"it refuses the subscription to {topic}: {reason}", for_a_person=True
                )
            elif reason.value < _QOS:
                self._failure = self._refusal(
                    f"it grants {topic} QoS 0 only: nothing could be acknowledged, and so much is lost",
                    for_a_person=True,
                )
        if not self._subscribed and self._failure is None:  # each of them is granted
            self._was_up = True

    def _on_message(self, _: paho.Client, __: Any, found: paho.MQTTMessage) -> None:
        said: Any = getattr(found.properties, "UserProperty", ()) if found.properties is not None else ()
        self._listener.received(
            Message(
                # Not .topic: it raises where a broker lets pass what is no UTF-8, which no event can hold, and is quarantined.
                found._topic.decode(errors="surrogateescape"),  # noqa: SLF001 - see above
                bytes(found.payload),
                found.qos,
                found.mid,
                self._now_ms(),
                is_duplicate=found.dup,
                is_retained=found.retain,
                properties=tuple((str(name), str(value)) for name, value in said),
            )
        )

    def _refusal(self, why: str, for_a_person: bool) -> BrokerGone | ConfigError:  # noqa: FBT001 - one fact
        text = f"{self._settings.address}: {why}"
        # What was right once may be right again: an authority that is being restarted, say.
        return ConfigError(text) if for_a_person and not self._was_up else BrokerGone(text)

    def _raise(self, why: str, *, for_a_person: bool = False) -> None:
        self.is_up = False
        raise self._refusal(why, for_a_person)


def _properties(packet_type: int) -> Properties:
    return Properties(packet_type)
