"""Bugs of a spool, each as a patch of the real code."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from producers.client.entry import user_records_of
from producers.client.identity import Identity
from producers.spool.contents import Contents
from producers.spool.database import Database, Entry
from producers.spool.forwarder import Forwarder
from producers.spool.row import Spooled
from producers.spool.spool import Spool
from streamgage.errors import DeliveryError
from streamgage.formats.kpl_builder import AggregateBuilder
from streamgage.records import SealedRecord
from support.planted import Plant


def spool_accepts_before_it_is_written(patch: pytest.MonkeyPatch) -> None:
    """What a spool accepts is written with what comes next."""
    append = Spool.append

    def mutant(self: Any, records: Sequence[SealedRecord], *, priority: int = 0) -> None:
        held = self.__dict__.setdefault("held_back", [])
        append(self, list(held), priority=priority)
        held[:] = records

    patch.setattr(Spool, "append", mutant)


def spool_removes_before_it_is_stored(patch: pytest.MonkeyPatch) -> None:
    """A record leaves the spool when it is sent."""
    send = Forwarder._send

    def mutant(self: Forwarder) -> None:
        try:
            send(self)
        finally:
            Spool.remove(self._spool, list(self._under_way))

    patch.setattr(Forwarder, "_send", mutant)


def spool_forgets_what_was_given_up(patch: pytest.MonkeyPatch) -> None:
    """What the producer gave up is taken for sent."""
    take_back = Forwarder._take_back

    def mutant(self: Forwarder, error: DeliveryError) -> None:
        Spool.remove(self._spool, list(self._under_way))
        take_back(self, error)

    patch.setattr(Forwarder, "_take_back", mutant)


def spool_marks_go_on_from_the_file(patch: pytest.MonkeyPatch) -> None:
    """The identity is the file's, and its counters begin anew with each process."""

    def mutant(self: Any, _priority: int) -> Identity:
        same: Identity = self.__dict__.setdefault("same", Identity(random.Random(str(self.path))))
        return same

    patch.setattr(Spool, "identity_of", mutant)


def spool_seals_anew_what_it_sends_again(patch: pytest.MonkeyPatch) -> None:
    """What a process finds in its spool gets marks of its own."""
    head = Contents.head

    def mutant(self: Any, *arguments: Any) -> Sequence[Spooled]:
        identity = self.__dict__.setdefault("own", Identity(random.Random(id(self))))
        return [_sealed_anew(each, identity) for each in head(self, *arguments)]

    patch.setattr(Contents, "head", mutant)


def _sealed_anew(spooled: Spooled, identity: Identity) -> Spooled:
    builder = AggregateBuilder(identity.tags_for("any"))
    for each in user_records_of(spooled.record):
        builder.add(each)
    return replace(spooled, record=replace(spooled.record, data=builder.build()))


def spool_sends_the_newest_first(patch: pytest.MonkeyPatch) -> None:
    """A stack, not a queue."""
    entries = Database.entries

    def mutant(self: Database, *, least_first: bool = False) -> Iterator[Entry]:
        return iter(list(entries(self, least_first=least_first))[::-1])

    patch.setattr(Database, "entries", mutant)


SPOOL_BUGS: Mapping[str, Plant] = {
    plant.__name__: plant
    for plant in (
        spool_accepts_before_it_is_written,
        spool_removes_before_it_is_stored,
        spool_forgets_what_was_given_up,
        spool_marks_go_on_from_the_file,
        spool_seals_anew_what_it_sends_again,
        spool_sends_the_newest_first,
    )
}
