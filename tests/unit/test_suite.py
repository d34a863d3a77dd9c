"""What the suite rests on, on however slow a machine: no clock judges an example, and moto is as atomic as DynamoDB."""

import re
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from conftest import LONG, ClientFactory, create_table
from support import shares
from support.paths import ROOT

THREADS, ROUNDS = 8, 40


def test_no_example_is_judged_by_the_clock() -> None:
    assert settings.default is not None
    assert settings.default.deadline is None
    assert HealthCheck.too_slow in settings.default.suppress_health_check


def test_a_thorough_run_has_every_law_that_has_more_examples() -> None:
    (places,) = re.findall(
        r"^THOROUGH := (.*?)  #", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    roots = [ROOT / each for each in places.split()]
    laws = [
        path
        for path in (ROOT / "tests").rglob("test_*.py")
        if re.search(r"^from support\.examples import", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert laws
    assert [each for each in laws if not any(each.is_relative_to(root) for root in roots)] == []


def test_the_files_that_begin_first_are_there() -> None:
    assert {*LONG} <= {path.name for path in Path(__file__).parents[1].rglob("test_*.py")}


def test_a_share_has_a_case_whatever_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(50):
        monkeypatch.setattr(shares, "SEED", str(seed))
        params: Any = shares.shared(("a", "b", "c"), one_of=6)
        assert [each.values for each in params] == [("a",), ("b",), ("c",)]
        assert any(not each.marks for each in params)


def test_no_two_files_have_one_name() -> None:
    names = Counter(path.name for path in Path(__file__).parents[1].rglob("test_*.py"))
    assert names == Counter(set(names)), "folders of tests are no packages: one file would hide the other"


@pytest.mark.parametrize("made_at", [b"1", b"2"])
def test_bytes_that_differ_from_worker_to_worker_name_no_test(
    made_at: bytes, request: pytest.FixtureRequest
) -> None:
    assert request.node.name.split("[")[1] == f"made_at{int(made_at) - 1}]"


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before_s)


def test_of_racing_conditional_writes_over_moto_one_wins(moto: ClientFactory, hasty_threads: None) -> None:
    client = moto("dynamodb")
    create_table(client, "t")
    together = threading.Barrier(THREADS)

    def wins(key: str) -> bool:
        together.wait()
        try:
            client.put_item(
                TableName="t",
                Item={"pk": {"S": key}, "sk": {"S": "s"}},
                ConditionExpression="attribute_not_exists(pk)",
            )
        except client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    with ThreadPoolExecutor(THREADS) as pool:
        winners = [sum(pool.map(wins, [str(n)] * THREADS)) for n in range(ROUNDS)]
    assert winners == [1] * ROUNDS
