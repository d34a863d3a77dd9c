"""What is owed to a broker: nothing is acknowledged that is not stored, nor under an id that means another message by now."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from producers.mqtt.messages import Message
from producers.mqtt.session import Session
from support.examples import examples


def message(packet_id: int, payload: bytes = b"1", *, is_duplicate: bool = False, qos: int = 1) -> Message:
    return Message("t", payload, qos, packet_id, 0, is_duplicate=is_duplicate)


def test_a_message_is_acknowledged_once_it_is_stored() -> None:
    session, one = Session(), message(1)
    session.connected(is_resumed=False)
    assert session.received(one) == "take"
    assert session.stored(one)
    session.acknowledged(1)
    assert len(session) == 0


def test_what_came_before_the_connection_was_lost_waits_until_it_comes_again() -> None:
    session, one = Session(), message(1)
    session.connected(is_resumed=False)
    session.received(one)
    session.connected(is_resumed=True)
    assert not session.stored(one)
    assert session.received(message(1, is_duplicate=True)) == "acknowledge"


def test_an_id_of_a_session_that_is_gone_is_not_acknowledged() -> None:
    session, old = Session(), message(1)
    session.connected(is_resumed=True)
    session.received(old)
    session.connected(is_resumed=False)
    assert session.received(message(1, b"1")) == "take"
    assert not session.stored(old)


def test_an_id_whose_message_differs_is_another_message() -> None:
    session = Session()
    session.connected(is_resumed=True)
    session.received(message(1, b"1"))
    session.connected(is_resumed=True)
    assert session.received(message(1, b"2", is_duplicate=True)) == "take"


def test_a_message_with_qos_0_owes_nothing() -> None:
    session, one = Session(), message(0, qos=0)
    assert session.received(one) == "take"
    assert not session.stored(one)


class Broker(RuleBasedStateMachine):
    """A broker as the specification has it, before a session: ids are taken until acknowledged, and sent again when resumed.

    Every message has bytes of one value: so only ids tell them apart.
    """

    @initialize()
    def begin(self) -> None:
        self.session = Session()
        self.session.connected(is_resumed=False)
        self.unacknowledged: dict[int, int] = {}  # packet id: number of the message
        self.on_wire: list[tuple[int, bool]] = []  # sent, and not yet received
        self.held: list[tuple[int, Message]] = []  # taken, and not yet stored
        self.taken: list[int] = []
        self.stored: set[int] = set()
        self.number = 0

    @rule(packet_id=st.integers(1, 4))
    def publish(self, packet_id: int) -> None:
        if packet_id not in self.unacknowledged:
            self.unacknowledged[packet_id] = self.number
            self.number += 1
            self.on_wire.append((packet_id, False))

    @precondition(lambda self: self.on_wire)
    @rule()
    def receive(self) -> None:
        packet_id, is_duplicate = self.on_wire.pop(0)
        found = message(packet_id, is_duplicate=is_duplicate)
        number = self.unacknowledged[packet_id]
        match self.session.received(found):
            case "take":
                self.taken.append(number)
                self.held.append((number, found))
            case "acknowledge":
                self.acknowledge(packet_id)
            case "wait":
                assert number in self.taken

    @precondition(lambda self: self.held)
    @rule()
    def store(self) -> None:
        number, found = self.held.pop(0)
        self.stored.add(number)
        if self.session.stored(found):
            self.acknowledge(found.packet_id)

    def acknowledge(self, packet_id: int) -> None:
        assert self.unacknowledged.pop(packet_id) in self.stored
        self.session.acknowledged(packet_id)

    @rule()
    def resume(self) -> None:
        self.session.connected(is_resumed=True)
        self.on_wire = [(packet_id, True) for packet_id in self.unacknowledged]

    @rule()
    def forget(self) -> None:
        self.session.connected(is_resumed=False)
        self.unacknowledged, self.on_wire = {}, []

    @invariant()
    def nothing_is_taken_twice(self) -> None:
        if hasattr(self, "taken"):
            assert len(self.taken) == len(set(self.taken))


TestBroker = Broker.TestCase
TestBroker.settings = settings(max_examples=examples(40, whole=1_000), stateful_step_count=30)


@given(ids=st.lists(st.integers(1, 9), unique=True))
@settings(max_examples=examples(50, whole=500))
def test_acknowledgements_are_in_the_order_of_the_messages(ids: list[int]) -> None:
    session, messages = Session(), [message(each) for each in ids]
    session.connected(is_resumed=False)
    for each in messages:
        session.received(each)
    assert [each.packet_id for each in messages if session.stored(each)] == ids
