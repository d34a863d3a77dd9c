"""Topic filters: what they match, and which share a topic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.mqtt.topics import TopicFilter

LEVEL = st.sampled_from(["a", "b", "", "$x"])
TOPICS = st.lists(LEVEL, min_size=1, max_size=4).map("/".join).filter(bool)
FILTERS = st.builds(
    lambda levels, end: "/".join([*levels, *end]),
    st.lists(LEVEL | st.just("+"), min_size=1, max_size=3),
    st.sampled_from([[], ["#"]]),
).filter(bool).map(TopicFilter.of)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "topic", "is_meant"),
    [
        ("sport/tennis/+", "sport/tennis/player1", True),  # the examples of MQTT 5, 4.7.1
        ("sport/tennis/+", "sport/tennis/player1/ranking", False),
        ("sport/#", "sport", True),
        ("sport/+", "sport", False),
        ("sport/+", "sport/", True),
        ("+/+", "/finance", True),
        ("/+", "/finance", True),
        ("+", "/finance", False),
        ("#", "$SYS/uptime", False),
        ("$SYS/#", "$SYS/uptime", True),
    ],
)
def test_a_filter_means_what_the_specification_says(text: str, topic: str, *, is_meant: bool) -> None:
    assert TopicFilter.of(text).matches(topic) is is_meant


@pytest.mark.parametrize("text", ["", "a/#/b", "a#", "+a", "a\0", "$share/g/a", "a" * 65_536])
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"filter|alone|share"):
        TopicFilter.of(text)


@given(one=FILTERS, two=FILTERS, topic=TOPICS)
def test_filters_that_mean_one_topic_overlap(one: TopicFilter, two: TopicFilter, topic: str) -> None:
    assert one.overlaps(two) == two.overlaps(one)
    if one.matches(topic) and two.matches(topic):
        assert one.overlaps(two)


@given(one=FILTERS, two=FILTERS)
def test_filters_that_overlap_mean_one_topic(one: TopicFilter, two: TopicFilter) -> None:
    if one.overlaps(two):
        long = max(one.levels, two.levels, key=len)
        levels = []
        for number in range(len(long)):
            mine = [f.levels[number] for f in (one, two) if number < len(f.levels)]
            levels.append(next((each for each in mine if each not in ("+", "#")), "a"))
        topic = "/".join(levels)
        shorter = "/".join(levels[:-1])
        assert any(one.matches(each) and two.matches(each) for each in (topic, shorter))
