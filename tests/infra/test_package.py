"""The bundle of this machine: all that the function needs, and nothing that it does not."""

import re
import shutil
import tomllib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import pytest

from infra.aws.bundle import trial
from infra.aws.bundle.dists import closure
from infra.aws.bundle.files import ROOTS, STAMP, build_bundle, bundle_files, our_imports
from infra.aws.bundle.functions import AGGREGATE, API, FUNCTIONS, Function, named, of_code
from infra.aws.bundle.package import PYTHON, Package, Part
from infra.aws.bundle.roots import hashed_roots
from infra.aws.bundle.trial import try_init
from infra.aws.bundle.vouched import vouched_pipeline
from infra.aws.bundle.wheels import Target, read_lock
from infra.commands.main import main
from infra.commands.package import described
from infra.template.read import TEMPLATE, local_code, read_template
from processors.aggregate.function import ROOTS_FOLDER
from streamgage.errors import ConfigError
from support.bundle_child import PIPELINE, run, slow, todays, told_of_slow
from support.paths import ROOT
from support.strategies import POISON_USER_RECORDS


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("task") / "bundle"
    build_bundle(target, PIPELINE)
    return target


def modules_in(bundle: Path) -> set[str]:
    """Return the names of all modules that the bundle holds."""
    found = set()
    for path in [*bundle.rglob("*.py"), *bundle.rglob("*.so")]:
        name = ".".join(path.relative_to(bundle).with_name(path.name.partition(".")[0]).parts)
        found.add(name.removesuffix(".__init__"))
    return found


def test_a_cold_start_loads_the_modules_that_its_budget_counts_and_no_library(bundle: Path) -> None:
    (said,) = run(bundle, [todays()])
    assert (said.records, said.poison) == (4, [])
    assert sorted(said.modules) == sorted(our_imports().at_init)
    assert len(said.modules) <= AGGREGATE.budget.modules_at_init


def test_all_that_the_bundle_holds_is_used_by_some_path_and_all_that_they_use_is_there(bundle: Path) -> None:
    """A slow path that missed a file would end the child; a file that no path needs would be left over."""
    _, said = run(bundle, [todays(), slow()])
    assert said.records == 1 + len(POISON_USER_RECORDS) + 1  # an array of two
    assert said.poison == told_of_slow()
    assert modules_in(bundle) - set(said.modules) == set()


def test_every_module_runs_from_its_bytecode(bundle: Path) -> None:
    _, said = run(bundle, [todays(), slow()])
    sources = [each for each in said.modules.values() if not each.endswith((".pyc", ".so"))]
    assert sources == []
    assert all(Path(each).exists() for each in said.modules.values())


def test_the_bundle_trusts_the_authorities_that_boto3_trusts(bundle: Path) -> None:
    held = {each.name: each.read_text() for each in (bundle / ROOTS_FOLDER).iterdir()}
    assert held == hashed_roots(ROOTS.read_text(encoding="utf-8"))
    assert len(held) > 100


def test_a_bundle_is_built_again_only_when_something_changed(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "schemas", tmp_path / "schemas")
    shutil.copyfile(PIPELINE, tmp_path / "pipeline.toml")
    target = tmp_path / "bundle"

    def stamp() -> tuple[int, str]:
        build_bundle(target, tmp_path / "pipeline.toml")
        return (target / STAMP).stat().st_ino, (target / STAMP).read_text()

    first = stamp()
    assert stamp() == first
    with (tmp_path / "pipeline.toml").open("a") as definition:
        definition.write("# a remark\n")
    second = stamp()
    assert second[1] != first[1]
    assert (target / "pipeline.toml").read_text().endswith("# a remark\n")
    assert not list(tmp_path.glob(".bundle*"))


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda each: each.name)
def test_the_lock_holds_what_the_function_needs_beyond_ours_as_it_is_installed_here(
    function: Function,
) -> None:
    pins = {each.name: each.version for each in read_lock(function.lock)}
    needed = {re.sub("[-_.]+", "-", each.metadata["Name"].lower()) for each in closure(function.requirements)}
    assert pins.keys() == needed
    assert pins == {name: version(name) for name in pins}


def test_a_function_requires_what_its_extra_of_the_project_does() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    def names(requirements: list[str]) -> list[str]:
        return [re.split(r"[<>=\[]", each)[0] for each in requirements]

    assert list(AGGREGATE.requirements) == names(project["dependencies"])
    api = project["optional-dependencies"]["api"]
    assert list(API.requirements) == names([*project["dependencies"], *api])
    assert "streamgage[send,api]" in project["optional-dependencies"]["local"]  # who makes a bundle has it


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda each: each.name)
def test_the_lock_pins_the_versions_that_everything_else_is_tested_with(function: Function) -> None:
    everything = (ROOT / "requirements" / "dev.lock").read_text()
    for pin in read_lock(function.lock):
        assert f"\n{pin.name}=={pin.version} " in f"\n{everything}"


def test_make_lock_writes_the_lock_of_each_function() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for function in FUNCTIONS:
        assert f"-o {function.lock.relative_to(ROOT)}" in makefile


def test_each_function_of_the_template_has_a_bundle_of_its_own() -> None:
    made = of_code(local_code(read_template(TEMPLATE)))
    assert {Path(place).name: each for place, each in made.items()} == {
        f"{each.name}.zip": each for each in FUNCTIONS
    }
    assert [named(each.name) for each in FUNCTIONS] == list(FUNCTIONS)
    with pytest.raises(ConfigError, match="no function 'query'; there are: aggregate, api"):
        named("query")


def test_the_bundle_is_for_the_python_of_the_template() -> None:
    template = (ROOT / "infra" / "template" / "template.yaml").read_text()
    assert set(re.findall(r"Runtime: python(\S+)", template)) == {PYTHON}


@pytest.mark.parametrize("bytecode", ["3.13.0", None])
def test_the_report_says_what_takes_how_much_and_whether_there_is_bytecode(bytecode: str | None) -> None:
    made = Package(
        path=Path("build/a.zip"),
        function=AGGREGATE,
        target=Target("arm64", "3.13"),
        sha256="0f",
        size_bytes=1_234,
        unzipped_bytes=5_678,
        modules=("a", "b"),
        modules_later=("c",),
        parts=(Part("fastavro, compiled", 6, 5_000, 1_000), Part("bytecode", 70, 678, 200)),
        bytecode=bytecode,
    )
    lines = [" ".join(each.split()) for each in described(made).splitlines()]
    assert lines[:2] == ["a.zip: Python 3.13 on arm64", "sha256 0f"]
    assert "fastavro, compiled 6 5,000 1,000" in lines
    assert "all 76 5,678 1,234" in lines
    assert (
        f"modules of ours: 2 in a cold start (budget {AGGREGATE.budget.modules_at_init}), 1 on slow paths (c)"
        in lines
    )
    told = f"bytecode: by Python {bytecode}" if bytecode else "no bytecode: Python 3.13 is not installed here"
    assert any(each.startswith(told) for each in lines)


def definition(folder: Path, schema: str) -> Path:
    """Return our definition in *folder*, whose reading's schema stands at *schema*, with the schema there."""
    for name in ("reading", "click"):
        place = folder / (schema if name == "reading" else "schemas/click.avsc")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "schemas" / f"{name}.avsc", place)
    text = PIPELINE.read_text(encoding="utf-8")
    made = folder / "pipeline.toml"
    made.write_text(text.replace('"schemas/reading.avsc"', f'"{schema}"'), encoding="utf-8")
    return made


@pytest.mark.parametrize("schema", ["avro/reading.avsc", "reading.avsc", "./avro/v/reading.avsc"])
def test_schemas_are_bundled_from_where_the_definition_says(tmp_path: Path, schema: str) -> None:
    made = definition(tmp_path / "plant", schema)
    older = made.parent / schema.replace(".avsc", ".1.avsc")
    older.write_text((ROOT / "schemas" / "reading.avsc").read_text(encoding="utf-8"), encoding="utf-8")
    try_init(made)
    build_bundle(tmp_path / "bundle", made)
    (said,) = run(tmp_path / "bundle", [todays()])
    assert (said.records, said.poison) == (4, [])
    assert (tmp_path / "bundle" / schema.replace(".avsc", ".1.avsc")).exists()


def test_a_schema_that_the_bundle_could_not_hold_is_refused(tmp_path: Path) -> None:
    made = definition(tmp_path / "plant", "../reading.avsc")
    with pytest.raises(ConfigError, match=r"'\.\./reading\.avsc' is outside of the definition's folder"):
        build_bundle(tmp_path / "bundle", made)
    with pytest.raises(ConfigError, match="outside"):
        vouched_pipeline(made)


def test_a_bundle_whose_init_fails_is_refused_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_schemas(
        pipeline: Path, libraries: Mapping[str, bytes], function: Function
    ) -> dict[str, bytes]:
        return {
            name: each
            for name, each in bundle_files(pipeline, libraries, function).items()
            if not name.endswith("reading.avsc")
        }

    monkeypatch.setattr(trial, "bundle_files", without_schemas)
    with pytest.raises(ConfigError, match=r"consumer main fails at init.*schemas/reading\.avsc"):
        try_init(PIPELINE)


def test_a_bundle_of_an_older_schema_that_cannot_be_read_is_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = definition(tmp_path, "schemas/reading.avsc")
    today = (ROOT / "schemas" / "reading.avsc").read_text(encoding="utf-8")
    (tmp_path / "schemas" / "reading.1.avsc").write_text(
        today.replace('"double"', '"string"', 1), encoding="utf-8"
    )
    with pytest.raises(ConfigError, match=r"schemas/reading\.1\.avsc cannot be read"):
        build_bundle(tmp_path / "bundle", made)
    for verb in ("check", "lint", "package"):
        assert main([verb, "--pipeline", str(made)]) == 2
        assert "schemas/reading.1.avsc cannot be read" in capsys.readouterr().err
