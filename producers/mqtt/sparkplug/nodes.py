"""What is known of each Sparkplug node: what its births named, and which number its next message has.

What a birth says under an alias holds until the next birth. A message that was missed may have been one: so behind a gap in
the numbers, and behind a death, an alias is not believed, for it may mean something else by now. Names are.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, cast

from producers.mqtt.sparkplug.payload import Metric, Payload, Single, value_of
from streamgage.errors import PoisonRecord

MOST_NODES = 10_000
MOST_ALIASES = 100_000  # of one node
_NAMESPACE = "spBv1.0"
_TYPES = {"NBIRTH", "NDEATH", "NDATA", "DBIRTH", "DDEATH", "DDATA"}
_BD_SEQ = "bdSeq"
_CONTROL = ("Node Control/", "Device Control/")

MessageType = Literal["NBIRTH", "NDEATH", "NDATA", "DBIRTH", "DDEATH", "DDATA"]


class Address(NamedTuple):
    """Who sent a message, and of which type it is. ``device`` is None where it is the node itself."""

    group: str
    type: MessageType
    node: str
    device: str | None

    @property
    def command_topic(self) -> str:
        """The topic that the node takes commands on."""
        return f"{_NAMESPACE}/{self.group}/NCMD/{self.node}"


def address_of(topic: str) -> Address | None:
    """Return whose message *topic* is; None of commands and states, which are no data.

    Raises:
        PoisonRecord: it is no topic of Sparkplug B.
    """
    levels = topic.split("/")
    if levels[0] != _NAMESPACE or len(levels) < 3:
        raise PoisonRecord(
            "undecodable", f"{topic[:200]!r} is no topic of Sparkplug B: {_NAMESPACE}/GROUP/TYPE/NODE"
        )
    if levels[1] == "STATE" or levels[2] in ("NCMD", "DCMD"):
        return None
    of_device = levels[2].startswith("D")
    if levels[2] not in _TYPES or len(levels) != (5 if of_device else 4):
        raise PoisonRecord(
            "undecodable", f"{topic[:200]!r}: no message type of Sparkplug B, or a level too many or few"
        )
    return Address(levels[1], cast("MessageType", levels[2]), levels[3], levels[4] if of_device else None)


class Named(NamedTuple):
    """A metric by its name, with its value."""

    name: str
    value: Single
    time_ms: int | None
    is_historical: bool


@dataclass(slots=True)
class NodeReading:
    """What a message says. ``refused`` are reasons, each with its metric; ``nulls`` counts metrics without a value.

    ``is_gap``: messages before it are missing. ``needs_birth``: something in it cannot be known before the node is born again.
    """

    metrics: list[Named] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    nulls: int = 0
    is_birth: bool = False
    is_gap: bool = False
    needs_birth: bool = False


@dataclass(slots=True)
class _Node:
    seq: int | None = None
    bd_seq: int | None = None
    is_known: bool = False  # its aliases are those of its last birth
    aliases: dict[int, tuple[str, int | None]] = field(default_factory=dict)
    types: dict[str, int | None] = field(default_factory=dict)  # "device\0name": of metrics without an alias


class Nodes:
    """All nodes. Messages are read in the order the broker sent them, each once.

    ``changed`` is to be kept with what was read, and handed to the next ``Nodes``: then it goes on where this one was.
    """

    def __init__(self, kept: Mapping[str, str] | None = None) -> None:
        self._nodes: dict[tuple[str, str], _Node] = {}
        self._changed: dict[str, str] = {}
        for key, text in (kept or {}).items():
            kind, group, node = json.loads(key)
            self._load(self._nodes.setdefault((group, node), _Node()), kind, json.loads(text))

    def __len__(self) -> int:
        """How many there are."""
        return len(self._nodes)

    def read(self, address: Address, payload: Payload) -> NodeReading:
        """Return what the message says.

        Raises:
            PoisonRecord: nothing of it can be read, or too much is known already.
        """
        key = (address.group, address.node)
        node = self._nodes.get(key)
        if node is None:
            if len(self._nodes) >= MOST_NODES:
                raise PoisonRecord(
                    "undecodable", f"more than {MOST_NODES:,} nodes: give the bridge fewer groups"
                )
            node = self._nodes[key] = _Node()
        reading = NodeReading(is_birth=address.type.endswith("BIRTH"))
        if address.type == "NDEATH":
            if node.bd_seq is None or _bd_seq(payload) in (
                None,
                node.bd_seq,
            ):  # else of a connection before this one
                node.is_known = False
                self._note("state", key, node)
            return reading
        if address.type == "NBIRTH":
            node.aliases, node.types, node.bd_seq, node.is_known = {}, {}, _bd_seq(payload), True
            node.seq = None  # that of the connection before means nothing now
        elif payload.seq is not None and node.seq is not None and payload.seq != (node.seq + 1) % 256:
            reading.is_gap, node.is_known = True, False
        node.seq = payload.seq if payload.seq is not None else node.seq
        if reading.is_birth:
            self._learn(node, address.device, payload)
            self._note("names", key, node)
        self._note("state", key, node)
        for metric in payload.metrics:
            self._read_metric(node, address.device, payload, metric, reading)
        reading.needs_birth |= reading.is_gap or not node.is_known
        return reading

    def changed(self) -> dict[str, str]:
        """Return what changed since it was asked last, as texts by key."""
        changed, self._changed = self._changed, {}
        return changed

    def _learn(self, node: _Node, device: str | None, payload: Payload) -> None:
        named = [each for each in payload.metrics if each.name is not None]
        aliases = {each.alias: (str(each.name), each.data_type) for each in named if each.alias is not None}
        types = {f"{device or ''}\0{each.name}": each.data_type for each in named}
        if max(len(node.aliases.keys() | aliases), len(node.types.keys() | types)) > MOST_ALIASES:
            raise PoisonRecord("undecodable", f"its births name more than {MOST_ALIASES:,} metrics")
        node.aliases |= aliases
        node.types |= types

    @staticmethod
    def _read_metric(
        node: _Node, device: str | None, payload: Payload, metric: Metric, reading: NodeReading
    ) -> None:
        name, data_type = metric.name, None
        if name is not None:
            data_type = node.types.get(f"{device or ''}\0{name}")
        elif metric.alias is None:
            reading.refused.append("a metric has neither a name nor an alias")
            return
        elif node.is_known and metric.alias in node.aliases:
            name, data_type = node.aliases[metric.alias]
        else:
            reading.needs_birth = True
            why = "no birth that was heard of names it" if node.is_known else "its node was not born since"
            reading.refused.append(f"metric with alias {metric.alias}: {why}")
            return
        if name == _BD_SEQ or name.startswith(_CONTROL):
            return
        try:
            value = value_of(metric, data_type)
        except ValueError as error:
            reading.refused.append(f"metric {name[:200]!r}: {error}")
            return
        if value is None:
            reading.nulls += 1
            return
        time_ms = metric.time_ms if metric.time_ms is not None else payload.time_ms
        reading.metrics.append(Named(name, value, time_ms, metric.is_historical))

    def _note(self, kind: Literal["state", "names"], key: tuple[str, str], node: _Node) -> None:
        body: Sequence[Any]
        if kind == "state":
            body = (node.seq, node.bd_seq, node.is_known)
        else:
            body = ([(alias, *said) for alias, said in node.aliases.items()], node.types)
        self._changed[json.dumps((kind, *key))] = json.dumps(body)

    @staticmethod
    def _load(node: _Node, kind: str, body: Any) -> None:
        if kind == "state":
            node.seq, node.bd_seq, node.is_known = body
        else:
            node.aliases = {alias: (name, data_type) for alias, name, data_type in body[0]}
            node.types = body[1]


def _bd_seq(payload: Payload) -> int | None:
    for metric in payload.metrics:
        if metric.name == _BD_SEQ and isinstance(metric.raw, int):
            return metric.raw
    return None
