"""A wheel goes into the bundle when it is the one of the lock file, whole, and for the machine that runs it."""

import hashlib
import io
import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path

import pytest

from infra.aws.bundle.trim import kept
from infra.aws.bundle.wheel_cache import default_cache, wheels
from infra.aws.bundle.wheels import PYTHONS, Pin, Target, read_lock, read_wheel
from streamgage.errors import ConfigError

ARM = Target("arm64", "3.13")
INTEL = Target("x86_64", "3.13")
PIN = Pin("some-lib", "1.2", frozenset())
ARM_NAME = "some_lib-1.2-cp313-cp313-manylinux2014_aarch64.manylinux_2_17_aarch64.whl"
MODULE = "some_lib/_fast.cpython-313-aarch64-linux-gnu.so"
METADATA = b"Metadata-Version: 2.1\nName: some-lib\nVersion: 1.2\n"
WHEEL = b"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: cp313-cp313-manylinux2014_aarch64\n"


def elf(machine: int) -> bytes:
    return b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00" + machine.to_bytes(2, "little") + bytes(44)


FILES = {"some_lib/__init__.py": b"x = 1\n", MODULE: elf(0xB7)}


def wheel(
    files: Mapping[str, bytes] = FILES, *, record: Mapping[str, bytes] | None = None, papers: bool = True
) -> bytes:
    """Return a wheel of *files*, whose RECORD says *record*."""
    folder = "some_lib-1.2.dist-info"
    content = {**files, f"{folder}/METADATA": METADATA, f"{folder}/WHEEL": WHEEL}
    listed = {**content, **(record or {})}
    rows = [
        f"{name},sha256={urlsafe_b64encode(hashlib.sha256(each).digest()).decode().rstrip('=')},{len(each)}"
        for name, each in listed.items()
    ]
    if papers:
        content[f"{folder}/RECORD"] = "\n".join([*rows, f"{folder}/RECORD,,"]).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, each in content.items():
            archive.writestr(name, each)
    return buffer.getvalue()


def read(content: bytes, tmp_path: Path, target: Target = ARM) -> dict[str, bytes]:
    path = tmp_path / ARM_NAME
    path.write_bytes(content)
    return read_wheel(path, target)


def locked(tmp_path: Path, *contents: bytes) -> Path:
    lock = tmp_path / "function.lock"
    hashes = "".join(f" \\\n    --hash=sha256:{hashlib.sha256(each).hexdigest()}" for each in contents)
    lock.write_text(f"# made by a test\nsome-lib==1.2{hashes}\n")
    return lock


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes wheels from, and from nowhere else."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.delenv("PIP_CONFIG_FILE", raising=False)
    return folder


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        (ARM_NAME, True),
        ("some_lib-1.2-1-cp313-cp313-manylinux_2_34_aarch64.whl", True),
        ("some_lib-1.2-py3-none-any.whl", True),
        ("some_lib-1.2-py2.py3-none-any.whl", True),
        ("some_lib-1.2-cp313-cp313-manylinux_2_35_aarch64.whl", False),  # a newer glibc than Lambda's
        ("some_lib-1.2-cp313-cp313-manylinux2014_x86_64.whl", False),
        ("some_lib-1.2-cp313-cp313-musllinux_1_2_aarch64.whl", False),
        ("some_lib-1.2-cp313-cp313t-manylinux2014_aarch64.whl", False),  # without a GIL
        ("some_lib-1.2-cp312-cp312-manylinux2014_aarch64.whl", False),
        ("some_lib-1.3-py3-none-any.whl", False),
        ("another-1.2-py3-none-any.whl", False),
        ("some_lib-1.2.tar.gz", False),
        ("some_lib-1.2.whl", False),
    ],
)
def test_a_wheel_fits_by_its_name(name: str, *, fits: bool) -> None:
    assert PIN.fits(name, ARM) is fits


def test_amazon_linux_2_has_an_older_glibc() -> None:
    old = Target("x86_64", "3.11")
    assert PIN.fits("some_lib-1.2-cp311-cp311-manylinux_2_26_x86_64.whl", old)
    assert not PIN.fits("some_lib-1.2-cp311-cp311-manylinux_2_28_x86_64.whl", old)
    assert all(Target("arm64", each).platforms[-1] == "manylinux2014_aarch64" for each in PYTHONS)


def test_a_target_that_lambda_does_not_have_is_refused_with_every_problem() -> None:
    with pytest.raises(ConfigError) as caught:
        Target("amd64", "2.7")
    assert len(caught.value.problems) == 2


def test_a_whole_wheel_is_read(tmp_path: Path) -> None:
    files = read(wheel(), tmp_path)
    assert {name: files[name] for name in FILES} == FILES


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            wheel(record={"some_lib/__init__.py": b"x = 2\n"}),
            "__init__.py is not the file that RECORD names",
        ),
        (
            wheel(record={"some_lib/more.py": b""}),
            r"some_lib/more\.py is in RECORD, and not in the wheel",
        ),
        (wheel(papers=False), "has 0 RECORD files"),
        (wheel({**FILES, "../evil.py": b""}), "lies outside"),
        (wheel({**FILES, "some_lib-1.2.data/purelib/m.py": b""}), "for an installer to place"),
        (wheel({MODULE: elf(0x3E)}), "compiled for ELF machine 0x3e, not for aarch64"),
        (
            wheel({"some_lib/_fast.cpython-312-aarch64-linux-gnu.so": elf(0xB7)}),
            "no module of Python 3.13 on arm64",
        ),
        (b"not a zip", "not a wheel"),
    ],
)
def test_a_wheel_that_is_not_what_it_says_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        read(content, tmp_path)


def test_programs_for_a_shell_may_be_in_a_wheel_and_come_into_no_bundle(tmp_path: Path) -> None:
    script = "some_lib-1.2.data/scripts/run"
    files = read(wheel({**FILES, script: b"#!python"}), tmp_path)
    assert script in files
    assert script not in kept(files)


def test_a_wheel_for_another_machine_is_refused_for_each_compiled_module(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not for x86_64") as caught:
        read(wheel(), tmp_path, INTEL)
    assert len(caught.value.problems) == 2  # by what it is, and by its name


def test_a_lock_names_each_line_that_it_cannot_hold_anyone_to(tmp_path: Path) -> None:
    lock = tmp_path / "a.lock"
    good = f"good==1 --hash=sha256:{'0' * 64}"
    lock.write_text(f"# comment\n\nloose>=1\nbare==1\n{good}\nmarked==1 ; python_version < '3.12'\n")
    with pytest.raises(ConfigError) as caught:
        read_lock(lock)
    assert [each.removeprefix(f"{lock}: ")[1:5] for each in caught.value.problems] == ["loos", "bare", "mark"]
    with pytest.raises(ConfigError, match="cannot be read"):
        read_lock(tmp_path / "absent.lock")


def test_pip_brings_the_wheel_of_the_lock_once(tmp_path: Path, index: Path) -> None:
    content = wheel()
    (index / ARM_NAME).write_bytes(content)
    lock, cache = locked(tmp_path, b"another", content), tmp_path / "cache"
    (found,) = wheels(lock, ARM, cache=cache)
    assert found == cache / hashlib.sha256(content).hexdigest() / ARM_NAME
    (index / ARM_NAME).unlink()
    assert wheels(lock, ARM, cache=cache) == [found]

    found.write_bytes(content[:-1])  # a broken one is fetched again, and here there is nothing to fetch
    with pytest.raises(ConfigError, match="pip could not download"):
        wheels(lock, ARM, cache=cache)
    (index / ARM_NAME).write_bytes(content)
    assert [each.read_bytes() for each in wheels(lock, ARM, cache=cache)] == [content]


def test_a_wheel_with_another_hash_is_refused(tmp_path: Path, index: Path) -> None:
    (index / ARM_NAME).write_bytes(wheel({**FILES, "some_lib/extra.py": b""}))
    with pytest.raises(ConfigError, match="DO NOT MATCH THE HASHES"):
        wheels(locked(tmp_path, wheel()), ARM, cache=tmp_path / "cache")


def test_a_wheel_of_another_platform_is_not_taken(tmp_path: Path, index: Path) -> None:
    (index / ARM_NAME).write_bytes(wheel())
    with pytest.raises(ConfigError, match="No matching distribution"):
        wheels(locked(tmp_path, wheel()), INTEL, cache=tmp_path / "cache")


def test_wheels_are_kept_where_caches_are_kept(tmp_path: Path) -> None:
    assert default_cache({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "streamgage/wheels"
    assert default_cache({}) == Path.home() / ".cache/streamgage/wheels"
