"""What an import says at its end, besides the numbers: how files were understood, and what was overlooked in them."""

from collections import Counter
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta

from producers.files.lookalikes import Lookalikes
from producers.files.rows import Row
from producers.files.tables import Table
from streamgage.definition.pipeline import Source
from streamgage.formats.avro import Event

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHOWN_CHARS = 60


class Summary:
    """Gathers over all files what a person should see. ``skipped`` counts lines that hold no row, by what they are.

    *keys* are the fields whose values are keys of rollups: two that look alike are to be told.
    """

    def __init__(self, source: Source, keys: Collection[str] = ()) -> None:
        self.skipped: Counter[str] = Counter()
        self.files = 0
        self._source = source
        self._first: str | None = None
        self._tables: list[Table] = []
        self._layouts: Counter[str] = Counter()
        self._notes: Counter[str] = Counter()
        self._ignored: Counter[str] = Counter()
        self._unseen: set[str] | None = None
        self._assumed = 0
        self._local: Counter[str] = Counter()
        types = source.schema.fields
        self._keys = Lookalikes(
            [name for name in types if types[name] == "string" and name in {source.partition_key, *keys}]
        )

    def begin(self, table: Table) -> None:
        """Take note that *table* is read next."""
        self._gather()
        self._tables.append(table)
        self.files += 1

    def note(self, table: Table, row: Row, event: Event) -> None:
        """Take note of an event that was taken."""
        if self._first is None:
            file = f"{table.name}, " if self.files > 1 else ""
            self._first = f"first row ({file}line {row.line}): {_shown(event, self._source.event_time)}"
        self._keys.note(event)

    def lines(self) -> Iterator[str]:
        """Yield what is to be said, line by line."""
        self._gather()
        if self._first is not None:
            yield self._first
        if self._layouts:
            shown = [f"{name} {count:,}" if count else name for name, count in self._layouts.most_common()]
            yield f"read as: {', '.join(shown)}"
        for what, count in self.skipped.items():
            yield f"{what} skipped: {count:,}"
        for what, count in self._notes.items():
            yield f"{what}: {count:,}"
        if self._assumed:
            yield f"times without an offset, taken as UTC: {self._assumed:,} (another zone: --timezone Europe/Berlin)"
        if self._local["ambiguous"]:
            yield f"local times that came twice, taken as the first (summer time): {self._local['ambiguous']:,}"
        if self._local["missing"]:
            yield f"local times that never were, quarantined: {self._local['missing']:,}"
        yield from self._keys.told()
        if self._ignored:
            yield f"columns ignored: {', '.join(self._ignored)}"
        if self._unseen:
            yield f"mapped columns that no row had: {', '.join(sorted(self._unseen))}"

    def _gather(self) -> None:
        """Add up what is known of the tables that are read."""
        for table in self._tables:
            self._layouts.update(table.layouts)
            self._notes.update(table.notes)
            self._ignored.update(table.mapping.ignored)
            unseen = table.mapping.unseen
            self._unseen = set(unseen) if self._unseen is None else self._unseen & unseen
            self._assumed += table.times.assumed
            if table.times.local is not None:
                self._local["ambiguous"] += table.times.local.ambiguous
                self._local["missing"] += table.times.local.missing
        self._tables.clear()


def _shown(event: Event, event_time: str) -> str:
    parts = []
    for name, value in event.items():
        text = _instant(value) if name == event_time else str(value)
        parts.append(f"{name}={text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + '…'}")
    return " ".join(parts)


def _instant(time_ms: int) -> str:
    try:
        text = (_EPOCH + timedelta(milliseconds=time_ms)).isoformat(timespec="milliseconds")
    except OverflowError:
        return f"{time_ms} ms"
    return text.replace("+00:00", "Z")
