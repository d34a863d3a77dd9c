"""Every total that a local stack's table holds, beside what was sent: the last word of the demo, of tests and of load trials."""

from collections import defaultdict
from collections.abc import Iterator

from infra.local.stack.home import StackInfo
from infra.local.stack.supervisor import local_client
from processors.aggregate.progress import SHARDS_PK
from processors.query.question import Question, Row, ask
from processors.sink.dynamodb import stored_item
from producers.simulators.totals import FieldTotals, Totals
from streamgage.definition.pipeline import Pipeline, Rollup
from streamgage.fold.items import StoredItem, window_start_ms
from streamgage.measures.windows import MAX_EVENT_TIME_MS

Items = dict[str, list[tuple[str, StoredItem]]]


def read_all_items(info: StackInfo) -> Items:
    """Return every aggregate of the table by pk: the comparison must see also what should not be there."""
    items: Items = defaultdict(list)
    pages = (
        local_client("dynamodb", info.endpoints["dynamodb"])
        .get_paginator("scan")
        .paginate(TableName=info.table, ConsistentRead=True)
    )
    for page in pages:
        for item in page["Items"]:
            pk = item["pk"]["S"]
            if pk.partition("|")[0] != SHARDS_PK:
                items[pk].append((item["sk"]["S"], stored_item(item)))
    for each in items.values():
        each.sort(key=lambda pair: pair[0])
    return items


class ReadItems:
    """A PartialStore over what was read already."""

    def __init__(self, items: Items) -> None:
        self._items = items
        self.asked: set[str] = set()

    def range(self, pk: str, first_sk: str, last_sk: str) -> Iterator[tuple[str, StoredItem]]:
        """Return the items of *pk* between two sort keys, and note that it was asked for."""
        self.asked.add(pk)
        return ((sk, item) for sk, item in self._items.get(pk, ()) if first_sk <= sk <= last_sk)


def compare(pipeline: Pipeline, items: Items, totals: Totals) -> list[str]:
    """Return a line for each difference between what the table says and *totals*, both ways; [] where there is none."""
    store, differences = ReadItems(items), []
    for rollup in pipeline.rollups.values():
        expected = dict(totals[rollup.name])
        for key, label in sorted({(key, label) for key, label, _ in expected}):
            for row in ask(store, question_of(rollup, key, label), applied_ms=0):
                want = expected.pop((key, label, row.window.start_ms), None)
                where = f"{rollup.name} {' '.join(key)} {label} from {row.window.start_ms}"
                if want is None:
                    differences.append(f"{where}: {row.events} events that were not sent")
                else:
                    differences += [
                        f"{where}: {each}" for each in _differences(row, want.events, want.fields)
                    ]
        differences += [
            f"{rollup.name} {key} {label} from {start}: missing" for key, label, start in expected
        ]
    unasked = items.keys() - store.asked
    differences += [
        f"{pk} at {window_start_ms(items[pk][0][0])}: a key that was not sent" for pk in sorted(unasked)
    ]
    return differences


def _differences(row: Row, events: int, fields: dict[str, FieldTotals]) -> Iterator[str]:
    if row.events != events:
        yield f"{row.events} events, {events} were sent"
    for field, measures in row.values.items():
        for name, value in measures.items():
            if name in ("mean", "variance"):  # derived from the sums, which are compared
                continue
            want = getattr(fields[field], name)
            if value != want:
                yield f"{field}.{name} is {value}, {want} was sent"


def question_of(rollup: Rollup, key: tuple[str, ...], label: str) -> Question:
    """Return the question for the whole history of *key* in windows of *label*."""
    windows = rollup.window_named(label)
    if windows is None:
        raise KeyError(label)
    return Question(rollup, key, windows, 0, MAX_EVENT_TIME_MS)
