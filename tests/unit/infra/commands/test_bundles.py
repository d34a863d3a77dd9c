"""Which zip is for which function: by its name, and told where that is not clear."""

from pathlib import Path

import pytest

from infra.commands.bundles import zip_paths, zips_given
from streamgage.errors import ConfigError

PLACES = ("../../build/aggregate.zip", "../../build/api.zip")


def zips(folder: Path, *names: str) -> list[Path]:
    for name in names:
        (folder / name).touch()
    return [folder / name for name in names]


def test_zips_are_known_by_their_names_in_a_folder_and_alone(tmp_path: Path) -> None:
    both = zips(tmp_path, "aggregate.zip", "api.zip")
    assert zips_given([tmp_path], PLACES) == dict(zip(PLACES, both, strict=True))
    assert zips_given(both[1:], PLACES) == {PLACES[1]: both[1]}
    assert zips_given([], PLACES) == {}


def test_where_one_bundle_is_wanted_any_zip_is_it(tmp_path: Path) -> None:
    (other,) = zips(tmp_path, "other.zip")
    assert zips_given([other], ["build"]) == {"build": other}


def test_a_zip_that_is_for_nothing_or_given_twice_is_refused(tmp_path: Path) -> None:
    other, api = zips(tmp_path, "other.zip", "api.zip")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError) as told:
        zips_given([other, api, tmp_path, tmp_path / "empty"], PLACES)
    assert told.value.problems == (
        f"--bundle {other}: this template takes aggregate.zip, api.zip; a zip is known by its name",
        f"--bundle {api}: {api} is api.zip already",
        f"--bundle {tmp_path}/empty: in this folder is none of aggregate.zip, api.zip",
    )


def test_bundles_go_into_a_folder_and_one_of_them_into_a_file_too() -> None:
    assert zip_paths(["aggregate", "api"], Path("build")) == {
        "aggregate": Path("build/aggregate.zip"),
        "api": Path("build/api.zip"),
    }
    assert zip_paths(["api"], Path("a.zip")) == {"api": Path("a.zip")}
    with pytest.raises(ConfigError, match=r"a\.zip is one file, and there are 2 bundles \(aggregate, api\)"):
        zip_paths(["aggregate", "api"], Path("a.zip"))
