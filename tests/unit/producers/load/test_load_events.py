"""The events of a load: whose they are, which fields hold the mark, and what comes late, twice or often."""

from collections import Counter
from pathlib import Path

import pytest

from processors.pipeline_files import load_pipeline
from producers.files.verdict import ConsumerRules
from producers.load.events import LoadEvents, Share, _Maker, divide, is_own, marked_fields, sources_of
from producers.load.profile import Profile
from streamgage.definition.pipeline import Pipeline
from streamgage.errors import ConfigError
from support.odd_pipeline import odd_pipeline
from support.paths import ROOT

START_MS = 1_700_000_000_000
SHARE = Share(mark="load-x", seed=1, first=0, devices=20, rate_per_s=500, seconds=4)


@pytest.fixture(scope="module")
def ours() -> Pipeline:
    return load_pipeline(ROOT / "pipeline.toml")


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    return odd_pipeline(Path(tmp_path_factory.mktemp("odd")))


def made(pipeline: Pipeline, profile: Profile, *names: str) -> "list[dict[str, object]]":
    events = LoadEvents(pipeline, sources_of(pipeline, names), SHARE, profile).all(START_MS)
    return [event for _, event in events]


def test_each_key_holds_the_mark_where_it_has_a_text(ours: Pipeline, odd: Pipeline) -> None:
    assert marked_fields(ours, ours.sources["reading"]) == {"device_id"}
    assert marked_fields(ours, ours.sources["click"]) == {"visitor_id", "page"}
    assert marked_fields(odd, odd.sources["meter"]) == {"site"}
    assert {name: is_own(odd, each) for name, each in odd.rollups.items()} == {
        "by_meter": False, "by_kind": False, "hot": True, "authors": True,
    }  # fmt: skip
    assert all(str(each["page"]).startswith("load-x-") for each in made(ours, Profile(), "click"))


def test_texts_that_a_filter_asks_for_come_too(odd: Pipeline) -> None:
    assert "hot" in {each["state"] for each in made(odd, Profile(), "meter")}


def test_the_first_devices_send_most_where_the_profile_says_so(ours: Pipeline) -> None:
    for zipf, least in ((0.0, 0), (1.5, 500)):
        counts = Counter(each["device_id"] for each in made(ours, Profile(zipf=zipf), "reading"))
        assert len(counts) == 20 if not zipf else counts.most_common(1)[0][0] == "load-x-00000"
        assert counts.most_common(1)[0][1] > least


def test_the_stated_shares_are_late_and_come_twice(ours: Pipeline) -> None:
    profile = Profile(late_share=0.5, late_by_ms=60_000, duplicate_share=0.25)
    events = made(ours, profile, "reading")
    twice = len(events) - len({id(each) for each in events})
    assert 400 < twice < 600  # of 2,000
    late = sum(int(str(each["ts"])) < START_MS - 1_000 for each in events)
    assert 700 < late < 1_300


def test_a_clock_is_wrong_the_same_way_each_time(ours: Pipeline) -> None:
    even, drifting = (made(ours, Profile(drift_ms=each), "reading") for each in (0, 5_000))
    wrong: dict[object, set[int]] = {}
    for one, other in zip(even, drifting, strict=True):
        assert one["device_id"] == other["device_id"]
        wrong.setdefault(one["device_id"], set()).add(int(str(other["ts"])) - int(str(one["ts"])))
    assert all(max(each) - min(each) <= 1 for each in wrong.values())  # ms are whole
    assert max(max(each) for each in wrong.values()) > 2_000
    assert min(min(each) for each in wrong.values()) < -2_000


def test_what_cannot_be_fed_is_told(ours: Pipeline) -> None:
    with pytest.raises(ConfigError, match="no source 'readings'; its sources are reading, click"):
        sources_of(ours, ("readings",))
    with pytest.raises(ConfigError, match="2 devices cannot be divided among 3 senders"):
        divide(senders=3, mark="m", seed=1, devices=2, rate_per_s=1, seconds=1)


@pytest.mark.parametrize(("drift", "late", "on_its_way_ms"), [(-1.0, 1.0, 30_000), (1.0, 0.0, -20_000)])
def test_the_latest_and_the_earliest_event_is_counted_also_where_it_waits_or_clocks_differ(
    odd: Pipeline, drift: float, late: float, on_its_way_ms: int
) -> None:
    source = odd.sources["meter"]
    maker = _Maker(odd, source, SHARE, Profile(late_share=1, late_by_ms=10**9, drift_ms=10**9))
    event = maker.make(lambda: 0.5, 0, START_MS, drift, late)
    ConsumerRules(odd, source).check(event, START_MS + on_its_way_ms)
