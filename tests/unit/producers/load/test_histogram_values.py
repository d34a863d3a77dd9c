"""A load of histograms is one that counts."""

import random

from producers.load.values import histograms
from streamgage.measures.histogram_points import point_of


def test_each_histogram_of_a_load_is_one_that_is_taken() -> None:
    dice = random.Random(1)
    made = [histograms(dice.random) for _ in range(300)]
    points = [point_of(each) for each in made]
    assert [sum(each.counts) for each in points] == [each["count"] for each in made]
    assert len({len(each.places) for each in points}) > 4
