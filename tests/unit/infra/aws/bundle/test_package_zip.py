"""The zip is a function of its files; the bytecode is the target's, and is believed without a look at dates."""

import hashlib
import importlib.util
import os
import stat
import sys
import time
import zipfile
from pathlib import Path

import pytest

from infra.aws.bundle.bytecode import (
    NotCompiledError,
    compiled,
    compiled_once,
    find_interpreter,
    this_interpreter,
)
from infra.aws.bundle.files import content_hash
from infra.aws.bundle.functions import AGGREGATE, Budget
from infra.aws.bundle.package import Package, part_of, write_zip
from infra.aws.bundle.wheels import Target

FILES = {"b/two.py": b"x = 2\n" * 500, "a.txt": b"", "b/__init__.py": b"", "c.so": bytes(range(256)) * 64}
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


def test_order_clock_zone_and_umask_leave_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = set()
    for number, (zone, umask) in enumerate([("UTC", 0o022), ("Pacific/Kiritimati", 0o077), ("XYZ+11", 0)]):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        before = os.umask(umask)
        try:
            path = tmp_path / str(number) / "a.zip"
            path.parent.mkdir()
            write_zip(path, dict(reversed(FILES.items())) if number else FILES)
        finally:
            os.umask(before)
        hashes.add(hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.undo()
    time.tzset()
    assert len(hashes) == 1


def test_everyone_may_read_what_is_unpacked_and_it_is_what_was_packed(tmp_path: Path) -> None:
    write_zip(tmp_path / "a.zip", FILES)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert {each: archive.read(each) for each in archive.namelist()} == FILES
        assert archive.namelist() == sorted(FILES)
        for entry in archive.infolist():
            assert stat.filemode(entry.external_attr >> 16) == "-rw-r--r--"
            assert entry.create_system == 3  # without it, unpacking ignores the mode


def test_the_hash_of_contents_depends_on_names_and_contents_only() -> None:
    assert content_hash(dict(reversed(FILES.items()))) == content_hash(FILES)
    for other in (
        {**FILES, "a.txt": b"x"},
        {**FILES, "new": b""},
        {"a": b"b", "c": b""},
        {"a": b"", "bc": b""},
    ):
        assert content_hash(other) != content_hash(FILES)
    assert content_hash({"a": b"b", "c": b""}) != content_hash({"a": b"", "bc": b""})


def test_bytecode_is_found_and_believed_whatever_the_dates(tmp_path: Path) -> None:
    source = "def f():\n    raise ValueError\nx = 1\n"
    made = compiled({"package/m.py": source.encode(), "data.txt": b"?"}, this_interpreter())
    ((name, content),) = made.items()
    assert name == f"package/__pycache__/m.{sys.implementation.cache_tag}.pyc"
    assert content[:4] == importlib.util.MAGIC_NUMBER
    assert int.from_bytes(content[4:8], "little") == 0b01  # by hash, unchecked
    assert content[8:16] == importlib.util.source_hash(source.encode())
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    (tmp_path / "package/m.py").write_text("x = 'the source'\n")
    spec = importlib.util.spec_from_file_location("m", tmp_path / "package/m.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.x == 1


def test_a_source_that_does_not_compile_is_named() -> None:
    with pytest.raises(NotCompiledError, match=r"/var/task/broken\.py"):
        compiled({"broken.py": b"def f(:\n"}, this_interpreter())


def test_what_bundles_share_is_compiled_once_and_what_changed_again() -> None:
    here = this_interpreter()
    one, other = (
        {"a.py": b"x = 1\n", "b.py": b"y = 1\n"},
        {"a.py": b"x = 1\n", "b.py": b"y = 2\n", "c.txt": b""},
    )
    first, then = compiled_once(one, here), compiled_once(other, here)
    assert (first, then) == (compiled(one, here), compiled(other, here))
    assert first[f"__pycache__/a.{here.tag}.pyc"] is then[f"__pycache__/a.{here.tag}.pyc"]
    assert compiled_once({"c.txt": b""}, here) == {}


def test_this_python_is_the_one_for_its_own_version() -> None:
    assert find_interpreter(HERE, {}) == this_interpreter()


def test_an_interpreter_is_one_that_runs_and_is_of_the_version(tmp_path: Path) -> None:
    """A shim for a Python that is not installed, and one that says that it is another, are passed over."""
    for number, script in enumerate(
        ["exit 127", "echo cpython-399 final 3 99 4", "echo cpython-398 beta 3 98 0"]
    ):
        shim = tmp_path / str(number) / "python3.98"
        shim.parent.mkdir()
        shim.write_text(f"#!/bin/sh\n{script}\n")
        shim.chmod(0o755)
        assert find_interpreter("3.98", {"PATH": str(shim.parent)}) is None
    assert find_interpreter("3.98", {"PATH": "", "HOME": str(tmp_path)}) is None
    real = tmp_path / ".pyenv/versions/3.98.1/bin/python3.98"
    real.parent.mkdir(parents=True)
    real.write_text("#!/bin/sh\necho cpython-398 final 3 98 1\n")
    real.chmod(0o755)
    found = find_interpreter("3.98", {"PATH": "", "HOME": str(tmp_path)})
    assert found is not None
    assert (found.path, found.version, found.tag) == (real, "3.98.1", "cpython-398")


def test_a_bundle_over_its_budget_says_by_what() -> None:
    made = Package(
        path=Path("a.zip"),
        function=AGGREGATE,
        target=Target("arm64", "3.13"),
        sha256="",
        size_bytes=1_000,
        unzipped_bytes=2_000,
        modules=("a", "b"),
        modules_later=(),
        parts=(),
        bytecode=None,
    )
    assert made.over_budget() == []
    assert made.over_budget(Budget(1_000, 2_000, 2)) == []
    assert made.over_budget(Budget(999, 1_999, 1)) == [
        "1,000 bytes zipped; the budget is 999",
        "2,000 bytes unzipped; the budget is 1,999",
        "2 modules of ours in a cold start; the budget is 1",
    ]


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("streamgage/fold/folder.py", "streamgage"),
        ("streamgage/__pycache__/fold.cpython-313.pyc", "bytecode"),
        ("fastavro/_read.cpython-313-aarch64-linux-gnu.so", "fastavro, compiled"),
        ("fastavro/read.py", "fastavro, Python"),
        ("fastavro-1.dist-info/METADATA", "names and licences of libraries"),
        ("roots/00.0", "certificate authorities"),
        ("pipeline.toml", "definition, schemas, index"),
        ("schemas/reading.avsc", "definition, schemas, index"),
    ],
)
def test_each_file_belongs_to_a_part(name: str, part: str) -> None:
    assert part_of(name) == part
