"""Answers that are kept: only who says so gets one, none that is older than he takes, and none of what others may not see."""

from dataclasses import dataclass

import pytest

from processors.live.kept import KEPT_S, KeptAnswers
from processors.live.replies import Reply
from support.http_face import Answered, Face, FakeStack, world

TAKES = {"cache-control": "max-age=1"}
BEGUN_MS = 1_700_000_000_000
RANGE = "/v1/rollups/page_views/range?window=1d&group_by="


@dataclass
class Clock:
    now_s: float = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(clock: Clock) -> KeptAnswers:
    return KeptAnswers(clock)


@pytest.mark.parametrize("wanted", ["max-age=1", "max-age=60", 'no-transform, MAX-AGE="1"'])
def test_who_takes_an_answer_that_is_so_old_gets_it_and_its_age(
    kept: KeptAnswers, clock: Clock, wanted: str
) -> None:
    kept.keep("asked", Reply(b"{}"), begun_ms=BEGUN_MS)
    clock.now_s += KEPT_S
    found = kept.find("asked", {"cache-control": wanted})
    assert found is not None
    assert (found.body, found.headers["Age"]) == (b"{}", "0")
    assert kept.find("another", TAKES) is None


@pytest.mark.parametrize(
    "wanted", ["", "max-age=", "max-age=-1", "no-cache", "max-age=1, no-cache", "no-store", "max-stale=9"]
)
def test_who_does_not_say_so_is_answered_anew(kept: KeptAnswers, wanted: str) -> None:
    kept.keep("asked", Reply(b"{}"), begun_ms=BEGUN_MS)
    assert kept.find("asked", {"cache-control": wanted}) is None
    assert kept.find("asked", {}) is None


@pytest.mark.parametrize(
    ("since", "gets"),
    [
        ("0", True),
        (str(BEGUN_MS), True),
        (str(BEGUN_MS + 1), False),
        ("", False),
        ("soon", False),
        ("9" * 400, False),
    ],
)
def test_who_was_told_of_a_change_gets_no_answer_that_was_begun_before_it(
    kept: KeptAnswers,
    since: str,
    gets: bool,  # noqa: FBT001 - a table's
) -> None:
    kept.keep("asked", Reply(b"{}"), begun_ms=BEGUN_MS)
    assert (kept.find("asked", {**TAKES, "streamgage-since-ms": since}) is not None) is gets


def test_nothing_is_kept_for_longer_than_a_moment(kept: KeptAnswers, clock: Clock) -> None:
    kept.keep("asked", Reply(b"{}"), begun_ms=BEGUN_MS)
    clock.now_s += KEPT_S + 0.01
    assert kept.find("asked", {"cache-control": "max-age=60"}) is None


def test_no_more_and_no_larger_answers_are_kept_than_a_sandbox_has_room_for(kept: KeptAnswers) -> None:
    for number in range(1_000):
        kept.keep(number, Reply(b"{}"), begun_ms=BEGUN_MS)
    assert [number for number in range(1_000) if kept.find(number, TAKES)] == list(range(1_000 - 64, 1_000))
    kept.keep(999, Reply(b"x" * (256 * 1024 + 1)), begun_ms=BEGUN_MS)
    assert kept.find(999, TAKES) is None, "what was kept before is not answered instead"


def ask(face: Face, target: str, keys: str = "*", **headers: str) -> Answered:
    return face(
        target,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        authorizer={"jwt": {"claims": {"keys": keys}}},
    )


@pytest.fixture
def face() -> Face:
    return Face(FakeStack(world().store), keys_claim="keys")


def test_pages_that_ask_the_same_within_a_moment_are_read_for_once(face: Face) -> None:
    first = ask(face, RANGE, cache_control="max-age=1")
    again = ask(face, RANGE, cache_control="max-age=1")
    assert len(face.stack.opened) == 1
    assert (again.status, again.json, again.headers["age"]) == (200, first.json, "0")
    assert (face.told[-1].read_units, face.told[-1].rows) == (0, 0)
    assert ask(face, RANGE, if_none_match=first.headers["etag"], cache_control="max-age=1").status == 304
    assert (
        ask(face, RANGE, accept="text/csv", cache_control="max-age=1")
        .headers["content-type"]
        .startswith("text/csv")
    )
    assert ask(face, f"{RANGE}&nope=1", cache_control="max-age=1").status == 400
    assert "age" not in ask(face, RANGE).headers
    face.now_ms += 501
    assert "age" not in ask(face, RANGE, cache_control="max-age=1").headers


def test_who_may_not_see_every_key_is_told_nothing_that_another_was(face: Face) -> None:
    target = "/v1/rollups/device_metrics/range?window=1h&group_by=device_id"
    everything = ask(face, target, cache_control="max-age=1")
    for device in ("d1", "d2"):
        own = ask(face, target, f"device_id={device}", cache_control="max-age=1")
        assert {row["device_id"] for row in own.json["rows"]} == {device}
        assert "age" not in own.headers
    assert ask(face, target, cache_control="max-age=1").json == everything.json
