"""Laws of a load: its schedule, and its events, of any profile and any seed."""

from pathlib import Path
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.client.encoder import encoder_of
from producers.files.verdict import ConsumerRules
from producers.load.events import LoadEvents, Share, divide, sources_of
from producers.load.profile import Profile
from producers.load.schedule import Schedule
from streamgage.definition.pipeline import Pipeline
from support.odd_pipeline import odd_pipeline

PROFILES = st.builds(
    Profile,
    swing=st.floats(0, 1),
    day_s=st.floats(1, 200),
    burst_factor=st.floats(1, 50),
    burst_every_s=st.floats(2, 30),
    burst_s=st.floats(0.1, 2),
    zipf=st.sampled_from([0.0, 0.8, 1.5]),
    late_share=st.floats(0, 1),
    late_by_ms=st.integers(0, 100_000_000),
    duplicate_share=st.sampled_from([0.0, 0.3]),
    drift_ms=st.integers(0, 100_000_000),
)
START_MS = 1_700_000_000_000


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    return odd_pipeline(Path(tmp_path_factory.mktemp("odd")))


@given(PROFILES, st.floats(0.5, 5_000), st.floats(0.2, 40), st.integers(0, 99))
def test_what_is_due_by_a_moment_is_what_is_due_at_it_or_before(
    profile: Profile, rate_per_s: float, seconds: float, seed: int
) -> None:
    schedule = Schedule(profile, rate_per_s=rate_per_s, seconds=seconds, seed=seed)
    assert schedule.events == max(1, round(rate_per_s * seconds))
    numbers = range(0, schedule.events, max(1, schedule.events // 50))
    dues = [schedule.due_ms(number) for number in numbers]
    assert dues == sorted(dues)
    assert dues[0] == 0
    assert dues[-1] < seconds * 1000 * (1 + 1e-9)
    for number, due_ms in zip(numbers, dues, strict=True):
        assert schedule.due_by(due_ms + 1e-3) > number
        assert schedule.due_by(due_ms - 1e-3) <= number
    assert schedule.due_by(-1) == 0
    assert schedule.due_by(seconds * 1000) == schedule.events
    assert schedule.peak_per_s >= schedule.events / seconds * (1 - 1e-9)


def test_the_rate_follows_the_day_and_bursts_are_denser() -> None:
    day = Schedule(Profile(swing=0.8, day_s=60), rate_per_s=1_000, seconds=60, seed=1)
    by_quarter = [day.due_by(at_s * 1000) - day.due_by((at_s - 15) * 1000) for at_s in (15, 30, 45, 60)]
    assert by_quarter[1] > 2 * by_quarter[0]
    assert by_quarter[2] > 2 * by_quarter[3]
    bursts = Schedule(
        Profile(burst_factor=10, burst_every_s=10, burst_s=1), rate_per_s=1_000, seconds=60, seed=1
    )
    a_second = [bursts.due_by(at * 100) - bursts.due_by(at * 100 - 100) for at in range(1, 601)]
    assert max(a_second) > 8 * sorted(a_second)[300]
    assert mean(a_second) == pytest.approx(100, rel=0.01)


@given(profile=PROFILES, seed=st.integers(0, 99))
def test_every_event_is_encoded_and_counted_and_comes_again_the_same(
    pipeline: Pipeline, profile: Profile, seed: int
) -> None:
    share = Share(mark="load-x", seed=seed, first=3, devices=7, rate_per_s=40, seconds=2)
    sources = sources_of(pipeline)
    made = list(LoadEvents(pipeline, sources, share, profile).all(START_MS))
    assert made == list(LoadEvents(pipeline, sources, share, profile).all(START_MS))
    assert len(made) == 80
    rules = {each.name: ConsumerRules(pipeline, each) for each in sources}
    due_ms = LoadEvents(pipeline, sources, share, profile).schedule.due_ms
    for number, (source, event) in enumerate(made):
        rules[source.name].check(event, START_MS + int(due_ms(number)) + 20_000)  # it was 20 s on its way
        assert encoder_of(source).user_record(event).data
    assert {source.name for source, _ in made} <= {"meter", "note"}


def test_senders_have_devices_of_their_own_and_all_of_the_rate() -> None:
    shares = divide(senders=3, mark="m", seed=5, devices=100, rate_per_s=1_000, seconds=2)
    devices = [range(each.first, each.first + each.devices) for each in shares]
    assert sorted(number for each in devices for number in each) == list(range(100))
    assert sum(each.rate_per_s for each in shares) == pytest.approx(1_000)
    assert len({each.seed for each in shares}) == 3
