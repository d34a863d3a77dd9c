"""Bugs of a collector that is a server, each as a patch of the real code."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from producers.collector.durable import Once
from producers.collector.spooled import SpoolDurable
from producers.spool.remembered import Remembered
from producers.spool.spool import Spool
from producers.spool.told import SpoolError, SpoolFull
from support.planted import Plant


def collector_answers_before_it_is_written(patch: pytest.MonkeyPatch) -> None:
    """A batch is answered, and written with the next one."""
    append = SpoolDurable._append

    def mutant(self: SpoolDurable, fresh: Sequence[Any], remembered: Sequence[Remembered]) -> None:
        held = self._spool.__dict__.setdefault("held_back", ([], []))
        held_fresh, held_remembered = list(held[0]), list(held[1])
        held[0][:], held[1][:] = fresh, remembered
        if held_fresh:
            append(self, held_fresh, held_remembered)

    patch.setattr(SpoolDurable, "_append", mutant)


def collector_writes_keys_in_another_transaction(patch: pytest.MonkeyPatch) -> None:
    """The key of a batch is written behind its records, not with them."""
    append, recall = Spool.append, Spool.recall

    def later(self: Spool) -> list[Remembered]:
        found: list[Remembered] = self.__dict__.setdefault("later", [])
        return found

    def append_alone(self: Spool, records: Any, *, priority: int = 0, remember: Any = ()) -> None:
        before = list(later(self))
        later(self)[:] = remember
        append(self, records, priority=priority, remember=before)

    def recall_both(self: Spool, keys: Any) -> dict[bytes, bytes]:
        there = recall(self, keys)
        return there | {each.key: each.content for each in later(self) if each.key in keys}

    patch.setattr(Spool, "append", append_alone)
    patch.setattr(Spool, "recall", recall_both)


def collector_forgets_keys_when_it_ends(patch: pytest.MonkeyPatch) -> None:
    """Keys are remembered in memory: a process that begins anew knows none."""
    append = Spool.append

    def forgetful(self: Spool, records: Any, *, priority: int = 0, remember: Any = ()) -> None:
        append(self, records, priority=priority)
        self.__dict__.setdefault("in_memory", {}).update(dict(remember))

    def recall(self: Spool, keys: Any) -> dict[bytes, bytes]:
        known: dict[bytes, bytes] = self.__dict__.get("in_memory", {})
        return {key: known[key] for key in keys if key in known}

    patch.setattr(Spool, "append", forgetful)
    patch.setattr(Spool, "recall", recall)


def collector_writes_twins_twice(patch: pytest.MonkeyPatch) -> None:
    """Of a batch that comes twice at one time both are looked for, found nowhere, and written."""
    write = SpoolDurable._write_new

    def mutant(self: SpoolDurable, group: Sequence[Any]) -> None:
        seen = {*self._spool.recall([each.batch.once.key for each in group if each.batch.once])}
        keys = set[Once]()
        for each in group:
            once = each.batch.once
            if once in keys:
                each.batch = replace(each.batch, once=None)
            elif once is not None and once.key not in seen:
                keys.add(once)
        write(self, group)

    patch.setattr(SpoolDurable, "_write_new", mutant)


def collector_sends_what_it_refused(patch: pytest.MonkeyPatch) -> None:
    """A batch for which there was no room is answered by 503, and sent once there is, though it comes again."""
    append = SpoolDurable._append

    def mutant(self: SpoolDurable, fresh: Sequence[Any], remembered: Sequence[Remembered]) -> None:
        held: list[Any] = self._spool.__dict__.setdefault("refused", [])
        try:
            append(self, [*fresh, *held], remembered)
        except SpoolFull:
            held += fresh
            raise
        held.clear()

    patch.setattr(SpoolDurable, "_append", mutant)


def collector_puts_back_marks_of_a_failing_disk(patch: pytest.MonkeyPatch) -> None:
    """A disk that fails is taken for one that wrote nothing: the marks are given to the next batch."""
    append = SpoolDurable._append

    def mutant(self: SpoolDurable, fresh: Sequence[Any], remembered: Sequence[Remembered]) -> None:
        before = self._spool.identity.drawn()
        try:
            append(self, fresh, remembered)
        except SpoolError:
            self._spool.identity.put_back(before)
            raise

    patch.setattr(SpoolDurable, "_append", mutant)


def collector_calls_a_failing_disk_kept(patch: pytest.MonkeyPatch) -> None:
    """Whatever the disk said, the answer is 200."""

    def mutant(self: SpoolDurable, group: Sequence[Any]) -> None:
        with suppress(SpoolError):
            self._write_new(group)

    patch.setattr(SpoolDurable, "_write", mutant)


SERVER_BUGS: Mapping[str, Plant] = {
    plant.__name__: plant
    for plant in (
        collector_answers_before_it_is_written,
        collector_writes_keys_in_another_transaction,
        collector_forgets_keys_when_it_ends,
        collector_writes_twins_twice,
        collector_sends_what_it_refused,
        collector_puts_back_marks_of_a_failing_disk,
        collector_calls_a_failing_disk_kept,
    )
}
