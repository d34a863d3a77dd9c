"""Bugs of the library's face, each as a patch of the real code."""

from collections.abc import Mapping
from typing import Any

import pytest

from producers.client.engine import Engine
from producers.client.outcomes import Delivered
from producers.sending.courier import Courier
from producers.sending.intake import Intake
from support.planted import Plant


def face_swallows_what_was_given_up(patch: pytest.MonkeyPatch) -> None:
    """What could not be delivered is handed back to nobody."""

    def mutant(self: Any) -> None:
        if self._engine.outbox.given_up:
            self._engine.hand_back()

    patch.setattr(Intake, "raise_given_up", mutant)


def face_takes_and_raises(patch: pytest.MonkeyPatch) -> None:
    """A put that tells of others that were given up has taken its event all the same."""
    take = Intake.take

    def mutant(self: Any, source: Any, event: Any, until_s: Any, **more: Any) -> None:
        take(self, source, event, until_s, **{**more, "raise_given_up": False})
        self.raise_given_up()

    patch.setattr(Intake, "take", mutant)


def face_calls_everything_stored(patch: pytest.MonkeyPatch) -> None:
    """A callback is told that its event is stored, also where it was given up."""
    tell = Courier._tell

    def mutant(self: Courier, settled: Any) -> None:
        tell(self, [(entry, Delivered()) for entry, _ in settled])

    patch.setattr(Courier, "_tell", mutant)


def face_takes_back_a_full_memory(patch: pytest.MonkeyPatch) -> None:
    """Where there is no room, the oldest goes, and nobody is told."""

    def mutant(self: Any, _until_s: Any) -> None:
        with self._courier.lock:
            while self._courier.is_full and self._engine.drop_oldest():
                pass

    patch.setattr(Intake, "_wait_for_room", mutant)


def face_lets_the_last_linger(patch: pytest.MonkeyPatch) -> None:
    """What nobody puts anything behind is not sent."""
    send_due = Engine.send_due

    def mutant(self: Engine) -> None:
        if self.outbox or self.batcher.next_deadline_ms() == 0:
            send_due(self)

    patch.setattr(Engine, "send_due", mutant)


FACE_BUGS: Mapping[str, Plant] = {
    plant.__name__: plant
    for plant in (
        face_swallows_what_was_given_up,
        face_takes_and_raises,
        face_calls_everything_stored,
        face_takes_back_a_full_memory,
        face_lets_the_last_linger,
    )
}
