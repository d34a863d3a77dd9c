"""Items as a person sees them: every key once, on every level of chunks, and what cannot be read with its reason."""

import argparse
import json
from typing import cast

import pytest

from benchmarks.events import DEFINITIONS, Workload, total_key
from benchmarks.sandbox import PlainFold
from infra.commands import items
from infra.commands.asked_at import Place
from processors.query.cells import DynamoPartialStore
from processors.query.freshness import Freshness
from processors.query.item_view import states_of, view_items
from processors.query.question import Question
from streamgage.fold.items import key_values
from support.fakes import PLENTY, InMemoryItemStore, Reads, sink_over

WORKLOAD = Workload.of(events=900, devices=100, seed=3)


@pytest.fixture
def store() -> InMemoryItemStore:
    store = InMemoryItemStore()
    sink_over(store).apply(PlainFold(WORKLOAD.pipeline).fold(WORKLOAD.records).items, deadline=PLENTY)
    return store


def question(key: dict[str, str] | None = None, window: str = "1m") -> Question:
    return Question.parse(
        WORKLOAD.pipeline, rollup="device_metrics", key=key, window=window, from_ms=0, to_ms=2**47
    )


def test_every_item_of_the_window_size_is_shown_and_every_state_is_the_total(
    store: InMemoryItemStore,
) -> None:
    views = list(view_items(Reads(store), question()))

    assert {each.key for each in views} == {key for key in store.rows if "|1m|" in key.pk}
    assert len(views) > 5
    found = {
        total_key("1m", view.start_ms, *key_values(state["key"])): state
        for view in views
        for state in states_of(view, question(), None)
    }
    totals = {key: total for key, total in WORKLOAD.totals().items() if key.startswith("1m|")}
    assert found.keys() == totals.keys()
    for key, (count, total, most) in totals.items():
        assert found[key]["events"] == found[key]["value.n"] == count
        assert found[key]["value.sum"] / 10**9 == pytest.approx(total)
        assert found[key]["value.max"] / 10**9 == most


def test_of_one_key_only_the_items_on_its_way_are_shown(store: InMemoryItemStore) -> None:
    asked = question({"device_id": "device-0007", "metric": "humidity"}, "1h")

    views = list(view_items(Reads(store), asked))

    assert 1 <= len(views) <= 3
    shown = [state["key"] for view in views for state in states_of(view, asked, ["device-0007|humidity"])]
    assert shown == ["device-0007|humidity"]


def test_an_item_that_cannot_be_read_is_shown_with_the_reason(store: InMemoryItemStore) -> None:
    foreign, damaged, *_ = sorted(key for key in store.rows if "|1m|" in key.pk and "|1m|0" not in key.pk)
    fence, _, body, expires_s = store.rows[foreign]
    store.rows[foreign] = (fence, "another", body, expires_s)
    fence, counts, body, expires_s = store.rows[damaged]
    store.rows[damaged] = (fence, counts, body[:-1], expires_s)

    problems = [each.problem for each in view_items(Reads(store), question()) if each.chunk is None]

    assert len(problems) == 2
    assert any("another definition (another;" in each for each in problems)
    assert any(each.startswith("damaged: ") for each in problems)


class TestTheCommand:
    def show(self, store: InMemoryItemStore, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
        def place(_: argparse.Namespace) -> Place:
            reads = cast("DynamoPartialStore", Reads(store))
            return Place(DEFINITIONS / "reference.toml", lambda: (reads, Freshness({}, 0, 0), "main"))

        monkeypatch.setattr(items, "find_place", place)
        parser = argparse.ArgumentParser()
        items.add_parser(parser.add_subparsers())
        parsed = parser.parse_args(["items", "show", "device_metrics", *arguments])
        code: int = parsed.run(parsed)
        return code

    def test_json_holds_what_the_item_holds(
        self, store: InMemoryItemStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.show(store, monkeypatch, "--window", "1h", "--format", "json") == 0
        shown = json.loads(capsys.readouterr().out)
        assert len(shown) == sum("|1h|" in key.pk for key in store.rows)
        root = next(each for each in shown if each["pk"].endswith("|0"))
        assert (root["keys"], root["begin_ms"]) == ([], 0)
        assert root["onward"] == len(shown) - 1
        assert root["bytes"] > root["body_bytes"] > 0
        assert sum(len(each["keys"]) for each in shown) == 300

    def test_a_table_is_readable_and_says_that_there_is_more(
        self, store: InMemoryItemStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("infra.commands.status_tables._WIDTH", 50)  # narrower than the states
        assert self.show(store, monkeypatch, "--limit", "2") == 0
        captured = capsys.readouterr()
        assert "device_metrics.1|1m|0" in captured.out
        assert "no new keys any more; others among" in " ".join(captured.out.split())
        assert "events" in captured.out
        assert "…" not in captured.out  # no number is cut off
        assert "--limit" in captured.err
