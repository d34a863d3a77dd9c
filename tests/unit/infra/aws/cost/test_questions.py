"""What questions over HTTP cost."""

from dataclasses import replace

import pytest

from infra.aws.cost.load import Questions
from infra.aws.cost.prices import load_prices
from infra.aws.cost.questions import METERED_BYTES, questions_bill
from streamgage.errors import ConfigError

MONTH_S = 730 * 3600
ASKED = Questions(per_s=1e6 / MONTH_S, read_units=8, ms=100, memory_mb=2048, answer_bytes=10)


def usd(questions: Questions) -> dict[str, float]:
    made = questions_bill(questions, load_prices())
    return {f"{line.service}: {line.what}": line.usd for line in made.lines}


def test_a_million_questions_cost_what_their_parts_do() -> None:
    lines = usd(ASKED)
    assert lines["API Gateway: requests"] == pytest.approx(1.0)
    assert lines["Lambda: duration"] == pytest.approx(1e6 * 0.1 * 2 * 0.0000133334)
    assert lines["Lambda: requests"] == pytest.approx(0.2)
    assert lines["DynamoDB: reads"] == pytest.approx(8 * 0.125)
    assert lines["CloudWatch: metrics"] == pytest.approx(0.9)
    made = questions_bill(ASKED, load_prices())
    assert made.usd_per_million_events == pytest.approx(sum(lines.values()))


@pytest.mark.parametrize(("answer_bytes", "times"), [(METERED_BYTES, 1), (METERED_BYTES + 1, 2), (0, 1)])
def test_an_answer_is_metered_by_halves_of_a_megabyte(answer_bytes: int, times: int) -> None:
    assert usd(replace(ASKED, answer_bytes=answer_bytes))["API Gateway: requests"] == pytest.approx(times)


def test_what_comes_by_the_page_passes_cloudfront_too() -> None:
    lines = usd(replace(ASKED, answer_bytes=100_000, by_page=True))
    assert lines["CloudFront: requests"] == pytest.approx(1.0)
    assert lines["CloudFront: data out"] == pytest.approx(1e6 * 100_000 / 1024**3 * 0.085, rel=0.08)
    assert lines.keys() - usd(ASKED).keys() == {"CloudFront: requests", "CloudFront: data out"}


def test_what_nobody_asks_costs_nothing() -> None:
    assert questions_bill(Questions(), load_prices()).usd == 0


def test_sandboxes_at_work_are_rate_times_duration() -> None:
    assert Questions(per_s=20, ms=150).sandboxes == pytest.approx(3)


def test_every_wrong_figure_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as told:
        Questions(per_s=-1, ms=30_000)
    assert told.value.problems == (
        "--questions-per-s is -1; it is 0 to 10000",
        "--question-ms is 30000; it is 0 to 29000",
    )
