"""Profiles of a load: the ones that have names, and those of files."""

from pathlib import Path

import pytest

from producers.load.profile import PROFILES, Profile, find_profile
from streamgage.errors import ConfigError


def test_a_profile_is_found_by_its_name_or_read_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "night.toml").write_text("swing = 1\nzipf = 0.5\nlate_by_ms = 5000\n")
    assert find_profile("realistic", tmp_path) is PROFILES["realistic"]
    assert find_profile("night.toml", tmp_path) == Profile(swing=1, zipf=0.5, late_by_ms=5_000)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("swings = 1", "swings: a profile has swing, day_s"),
        ("swing = 'much'", "swing is 'much', not a number"),
        ("swing = true", "swing is True, not a number"),
        ("late_by_ms = 1.5", "late_by_ms is 1.5, not a whole number"),
        ("swing = 2", "swing is 2; it is 0 to 1"),
        ("swing = nan", "swing is nan; it is 0 to 1"),
        ("burst_s = 90\nburst_every_s = 60", "longer than burst_every_s"),
        ("swing = ", "no profile can be read of it"),
    ],
)
def test_a_file_that_is_no_profile_is_refused_with_its_reason(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(ConfigError) as refused:
        find_profile("p.toml", tmp_path)
    assert any(words in each and "p.toml" in each for each in refused.value.problems)


def test_every_problem_of_a_file_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text("swing = 2\nzipf = -1\n")
    with pytest.raises(ConfigError) as refused:
        find_profile("p.toml", tmp_path)
    assert len(refused.value.problems) == 2


def test_a_name_that_is_none_is_told_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no profile is called 'wild'; there are: steady, realistic"):
        find_profile("wild", tmp_path)
