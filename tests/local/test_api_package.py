"""The bundle of the HTTP API's function: for Lambda's machine, the same as here, and whole without anything beside it."""

import os
import re
import subprocess
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from infra.aws.bundle.bytecode import find_interpreter
from infra.aws.bundle.files import bundle_files, installed_libraries, our_imports
from infra.aws.bundle.functions import AGGREGATE, API
from infra.aws.bundle.package import PYTHON, Package, package
from infra.aws.bundle.wheels import Target
from streamgage.errors import ConfigError
from support.bundle_child import PIPELINE

pytestmark = pytest.mark.local

MACHINES = {"arm64": 0xB7, "x86_64": 0x3E}
COMPILED = {"fastavro": 6, "promql_parser": 1}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Package]:
    """``made(architecture)``: the bundle for it, made once. Fails with pip's words where pip reaches no index."""

    @cache
    def make(architecture: str) -> Package:
        target = tmp_path_factory.mktemp("made") / "api.zip"
        try:
            return package(target, PIPELINE, architecture=architecture, function=API)
        except ConfigError as error:
            pytest.fail(f"this test needs the index that pip is configured with: {error}")

    return make


def files_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {each: archive.read(each) for each in archive.namelist()}


def plain(files: dict[str, bytes]) -> dict[str, bytes]:
    """Return *files* without bytecode, and the names of compiled modules without Python and machine."""
    return {
        re.sub(r"\.cpython-[^/]*\.so$", ".so", name): b"" if name.endswith(".so") else content
        for name, content in files.items()
        if not name.endswith(".pyc")
    }


@pytest.mark.parametrize("architecture", MACHINES)
def test_here_and_on_aws_run_the_same_files_but_for_compiled_modules(
    made: Callable[[str], Package], architecture: str
) -> None:
    here = bundle_files(PIPELINE, installed_libraries(API), API)
    assert plain(here) == plain(files_of(made(architecture).path))


@pytest.mark.parametrize("architecture", MACHINES)
def test_compiled_modules_are_for_lambdas_machine_and_python(
    made: Callable[[str], Package], architecture: str
) -> None:
    modules = {name: each for name, each in files_of(made(architecture).path).items() if name.endswith(".so")}
    assert {first: sum(name.startswith(f"{first}/") for name in modules) for first in COMPILED} == COMPILED
    for name, content in modules.items():
        assert int.from_bytes(content[18:20], "little") == MACHINES[architecture]
        assert name.endswith(Target(architecture, PYTHON).extension)


@pytest.mark.parametrize("architecture", MACHINES)
def test_it_is_within_its_budget_and_the_other_function_has_none_of_it(
    made: Callable[[str], Package], architecture: str
) -> None:
    assert made(architecture).over_budget() == []
    assert made(architecture).modules == our_imports(API).at_init
    only_here = {"aws_lambda_powertools", "promql_parser", "jmespath", "typing_extensions.py"}
    others = bundle_files(PIPELINE, installed_libraries(AGGREGATE))
    assert {each.partition("/")[0] for each in others} & only_here == set()
    assert not [each for each in others if each.startswith(("processors/live", "processors/query"))]


def test_it_is_imported_by_lambdas_python_with_nothing_beside_it(
    made: Callable[[str], Package], tmp_path: Path
) -> None:
    interpreter = find_interpreter(PYTHON)
    if interpreter is None:
        pytest.skip(f"Python {PYTHON} is not installed here")
    architecture = {"aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    with zipfile.ZipFile(made(architecture).path) as archive:
        archive.extractall(tmp_path)
    modules = [
        "promql_parser",
        "aws_lambda_powertools.event_handler",
        *our_imports(API).later,
        API.entry,
    ]
    code = (
        "import importlib, sys; sys.path.insert(0, sys.argv[1]); "
        "loaded = [importlib.import_module(each).__file__ for each in sys.argv[2:]]; "
        "sys.exit([each for each in loaded if not each.startswith(sys.argv[1])] or None)"
    )
    child = subprocess.run(
        [os.path.realpath(interpreter.path), "-I", "-S", "-B", "-c", code, str(tmp_path), *modules],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert child.returncode == 0, child.stderr[-2_000:]
