import argparse
from pathlib import Path

import pytest

from benchmarks.command import add_commands, find_benchmarks, load_benchmark
from streamgage.errors import ConfigError


def _bench(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers(required=True))
    parsed = parser.parse_args(["bench", *arguments])
    code: int = parsed.run(parsed)
    return code


def test_every_benchmark_is_listed_with_its_question(capsys: pytest.CaptureFixture[str]) -> None:
    assert _bench("--list") == 0
    shown = capsys.readouterr().out
    known = find_benchmarks()
    assert {"codec", "fold", "function", "producer", "scaling"} <= known.keys()
    for name, module in known.items():
        assert name in shown
        assert module.QUESTION.endswith("?")


def test_helpers_are_no_benchmarks() -> None:
    assert load_benchmark("harness") is None
    assert load_benchmark("nothing_like_it") is None


@pytest.mark.parametrize("name", ["nothing", "harness", "../x"])
def test_an_unknown_name_is_told_with_those_that_exist(name: str) -> None:
    with pytest.raises(ConfigError, match="there are: codec"):
        _bench(name)


def test_a_quick_run_writes_only_where_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _bench("codec", "--quick", "--out", str(tmp_path)) == 0
    assert [each.name for each in tmp_path.iterdir()] == ["codec.json"]
    assert _bench("codec", "--quick") == 0
    assert "not written" in capsys.readouterr().out
