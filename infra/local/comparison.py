"""Every total that a local stack's table holds, beside what was sent: the last word of the demo, of tests and of load trials."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from infra.local.stack.clients import local_client
from infra.local.stack.home import StackInfo
from processors.query.question import Question, Row, ask
from processors.sink.attributes import stored_item
from producers.simulators.totals import FieldTotals, Totals
from streamgage.definition.fingerprint import counts_of
from streamgage.definition.pipeline import Pipeline, Rollup
from streamgage.fold.items import ItemKey, StoredItem
from streamgage.measures.windows import MAX_EVENT_TIME_MS

_TALLIED = ("count", "sum", "min", "max", "first", "last")
Items = dict[ItemKey, StoredItem]


def read_all_items(info: StackInfo) -> Items:
    """Return every aggregate of the table: the comparison must see also what should not be there."""
    items: Items = {}
    pages = (
        local_client("dynamodb", info.endpoints["dynamodb"], info.credentials)
        .get_paginator("scan")
        .paginate(TableName=info.table, ConsistentRead=True)
    )
    for page in pages:
        for item in page["Items"]:
            key = ItemKey(item["pk"]["S"], item["sk"]["S"])
            if not key.pk.startswith("~"):
                items[key] = stored_item(item)
    return items


class ReadItems:
    """A PartialStore over what was read already."""

    def __init__(self, items: Items) -> None:
        self._items = items
        self._by_pk: dict[str, list[ItemKey]] = {}
        for key in sorted(items):
            self._by_pk.setdefault(key.pk, []).append(key)
        self.asked: set[ItemKey] = set()

    def range(self, pk: str, first_sk: str, last_sk: str) -> Iterator[tuple[str, StoredItem]]:
        """Return the items of *pk* between two sort keys, and note that they were asked for."""
        keys = [key for key in self._by_pk.get(pk, ()) if first_sk <= key.sk <= last_sk]
        self.asked.update(keys)
        return ((key.sk, self._items[key]) for key in keys)

    def get(self, keys: Sequence[ItemKey]) -> Mapping[ItemKey, StoredItem]:
        """Return those of *keys* that exist, and note that they were asked for."""
        found = {key: self._items[key] for key in keys if key in self._items}
        self.asked.update(found)
        return found


def compare(pipeline: Pipeline, items: Items, totals: Totals) -> list[str]:
    """Return a line for each difference between what the table says and *totals*, both ways; [] where there is none."""
    store, differences = ReadItems(items), []
    for rollup in pipeline.rollups.values():
        expected = dict(totals[rollup.name])
        for windows in rollup.windows:
            question = question_of(pipeline, rollup, None, windows.label)
            for row in ask(store, question, applied_ms=0, now_ms=0):
                want = expected.pop((row.key, windows.label, row.window.start_ms), None)
                where = f"{rollup.name} {' '.join(row.key)} {windows.label} from {row.window.start_ms}"
                if want is None:
                    differences.append(f"{where}: {row.events} events that were not sent")
                else:
                    differences += [
                        f"{where}: {each}" for each in _differences(row, want.events, want.fields)
                    ]
        differences += [
            f"{rollup.name} {key} {label} from {start}: missing" for key, label, start in expected
        ]
    differences += [f"{key.pk} {key.sk}: an item where no reader looks" for key in items.keys() - store.asked]
    return differences


def _differences(row: Row, events: int, fields: dict[str, FieldTotals]) -> Iterator[str]:
    if row.events != events:
        yield f"{row.events} events, {events} were sent"
    for field, measure, value in tallied(row):
        totals = fields.get(field)
        if totals is not None and value != (want := getattr(totals, measure)):
            yield f"{field}.{measure} is {value}, {want} was sent"


def tallied(row: Row) -> Iterator[tuple[str, str, int | Decimal | None]]:
    """Yield field, measure and value of each measure of *row* that a tally has: the others are derived from these, or sketches."""
    for field, measures in row.values.items():
        for name, value in measures.items():
            if name in _TALLIED:
                yield field, name, value


def question_of(pipeline: Pipeline, rollup: Rollup, key: tuple[str, ...] | None, label: str) -> Question:
    """Return the question for the whole history of *key*, or of all keys, in windows of *label*."""
    windows = rollup.window_named(label)
    if windows is None:
        raise KeyError(label)
    return Question(rollup, counts_of(pipeline, rollup), key, windows, 0, MAX_EVENT_TIME_MS)
