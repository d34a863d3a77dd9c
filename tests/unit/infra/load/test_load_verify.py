"""Every rollup that a load fed, beside what was sent: what is exact, what differs, and what nobody can tell."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from infra.load.verify import shared_rows, verify
from infra.local.comparison import ReadItems
from producers.client.encoder import encoder_of
from producers.load.events import LoadEvents, Share, sources_of
from producers.load.profile import PROFILES
from producers.simulators.totals import Tally, Totals, add_totals, read_totals, write_totals
from streamgage.definition.pipeline import Pipeline, Source
from streamgage.formats.avro import Event
from streamgage.records import StreamRecord
from support.odd_pipeline import odd_pipeline
from support.tables import Items, apply, fold_plainly

START_MS = 1_700_000_000_000
DAY_MS = 86_400_000
SHARE = Share(mark="load-x", seed=1, first=0, devices=5, rate_per_s=200, seconds=4)
Sent = list[tuple[Source, Event]]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    return odd_pipeline(Path(tmp_path_factory.mktemp("odd")))


def sent_by(pipeline: Pipeline, share: Share = SHARE) -> Sent:
    return list(LoadEvents(pipeline, sources_of(pipeline), share, PROFILES["realistic"]).all(START_MS))


def records_of(sent: Sent, first: int = 1) -> Iterator[StreamRecord]:
    for number, (source, event) in enumerate(sent, first):
        record = encoder_of(source).user_record(event)
        yield StreamRecord("shardId-0", number, record.partition_key, record.data, START_MS + 5_000)


def table_of(pipeline: Pipeline, *loads: Sent) -> Items:
    table: Items = {}
    sent = [each for load in loads for each in load]
    apply(fold_plainly(pipeline, list(records_of(sent))).items, table)
    return table


def totals_of(pipeline: Pipeline, sent: Iterable[tuple[Source, Event]]) -> Totals:
    tally = Tally(pipeline)
    for source, event in sent:
        tally.add(source.name, event)
    return tally.totals


def test_what_was_sent_and_counted_is_exact_to_the_digit(pipeline: Pipeline) -> None:
    sent = sent_by(pipeline)
    found = verify(pipeline, ReadItems(table_of(pipeline, sent)), totals_of(pipeline, sent), mark="load-x")
    assert found.differences == []
    assert found.rows > 20
    assert found.values > 5 * found.rows / 2
    assert found.events["by_meter"] + found.events["authors"] == len(sent)
    assert 0 < found.events["hot"] < found.events["by_meter"]


def test_rows_of_a_rollup_that_should_have_counted_nothing_are_told(pipeline: Pipeline) -> None:
    sent = sent_by(pipeline)
    totals = {**totals_of(pipeline, sent), "hot": {}}
    found = verify(pipeline, ReadItems(table_of(pipeline, sent)), totals, mark="load-x")
    assert found.differences
    assert all(
        each.startswith("hot ") and each.endswith("events that were not sent") for each in found.differences
    )
    assert "hot" not in found.events


def test_an_event_that_is_lost_or_counted_twice_is_told_in_each_rollup_that_it_is_of(
    pipeline: Pipeline,
) -> None:
    sent = sent_by(pipeline)
    totals = totals_of(pipeline, sent)
    for wrong in (sent[1:], [sent[0], *sent]):
        found = verify(pipeline, ReadItems(table_of(pipeline, wrong)), totals, mark="load-x")
        assert found.differences
        told = {each.partition(" ")[0] for each in found.differences}
        assert told >= {
            name
            for name, each in pipeline.rollups.items()
            if each.source == sent[0][0].name and not each.where
        }


def test_a_row_of_ours_that_was_not_sent_is_told_and_one_of_others_is_not(pipeline: Pipeline) -> None:
    sent = sent_by(pipeline)
    note = pipeline.sources["note"]
    others = [(note, {"author": "load-y-1", "at": START_MS, "words": 1})]
    ours = [(note, {"author": "load-x-99", "at": START_MS, "words": 1})]
    totals = totals_of(pipeline, sent)
    assert not verify(
        pipeline, ReadItems(table_of(pipeline, sent, others)), totals, mark="load-x"
    ).differences
    found = verify(pipeline, ReadItems(table_of(pipeline, sent, ours)), totals, mark="load-x")
    assert [each for each in found.differences if "1 events that were not sent" in each]


def test_rows_that_others_feed_too_are_compared_less_what_stood_there_before(pipeline: Pipeline) -> None:
    earlier, sent = sent_by(pipeline, replace(SHARE, mark="load-y", seed=2)), sent_by(pipeline)
    before = shared_rows(
        pipeline, ReadItems(table_of(pipeline, earlier)), from_ms=START_MS - DAY_MS, to_ms=START_MS + DAY_MS
    )
    assert set(before) == {"by_meter", "by_kind"}
    both, totals = ReadItems(table_of(pipeline, earlier, sent)), totals_of(pipeline, sent)
    found = verify(pipeline, both, totals, mark="load-x", before=before)
    assert found.differences == []
    assert found.unsure > 0  # min, max, first and last of them
    assert verify(pipeline, both, totals, mark="load-x").differences
    less = verify(
        pipeline, ReadItems(table_of(pipeline, earlier, sent[1:])), totals, mark="load-x", before=before
    )
    assert less.differences


def test_first_and_last_of_one_moment_are_left_out_where_shards_may_have_them_either_way(
    pipeline: Pipeline,
) -> None:
    meter = pipeline.sources["meter"]
    (base,) = [event for source, event in sent_by(pipeline) if source is meter][:1]
    sent = [
        (meter, {**base, "meter": number, "ratio": ratio, "at": START_MS})
        for number, ratio in enumerate((0.25, 0.5))
    ]
    store, totals = ReadItems(table_of(pipeline, sent)), totals_of(pipeline, sent)
    (row,) = totals["by_kind"].values()
    row.fields["ratio"].first = row.fields["ratio"].last = None  # whatever a tally says of them
    found = verify(pipeline, store, totals, mark="load-x")
    assert (found.differences, found.unsure) == ([], 2)


def test_totals_of_parts_add_up_to_those_of_the_whole_and_survive_a_file(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    sent = sent_by(pipeline)
    whole, added = totals_of(pipeline, sent), totals_of(pipeline, sent[:300])
    write_totals(totals_of(pipeline, sent[300:]), tmp_path / "t.json")
    add_totals(added, read_totals(tmp_path / "t.json"))
    assert added == whole


def test_a_tie_is_one_only_of_different_values_of_the_first_or_last_moment(pipeline: Pipeline) -> None:
    meter = pipeline.sources["meter"]
    (base,) = [event for source, event in sent_by(pipeline) if source is meter][:1]

    def tied(*readings: tuple[int, float]) -> tuple[bool, bool]:
        whole: Totals = {}
        events = [(meter, {**base, "at": START_MS + at, "ratio": ratio}) for at, ratio in readings]
        for event in events:
            add_totals(whole, totals_of(pipeline, [event]))
        assert whole == totals_of(pipeline, events)
        (row,) = whole["by_kind"].values()
        return row.fields["ratio"].first_tied, row.fields["ratio"].last_tied

    assert tied((0, 0.25), (0, 0.25)) == (False, False)
    assert tied((0, 0.25), (0, 0.5)) == (True, True)
    assert tied((0, 0.25), (0, 0.5), (5, 1.0)) == (True, False)
    assert tied((0, 0.25), (0, 0.5), (-5, 1.0)) == (False, True)
    assert tied((0, 0.25), (0, 0.5), (-5, 1.0), (5, 1.0)) == (False, False)
