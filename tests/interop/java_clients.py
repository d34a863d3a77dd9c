"""AWS's own clients as child processes: built by Maven once, kept in ~/.cache/streamgage until their sources change.

A build downloads some 90 MB into Maven's ordinary repository the first time.
"""

import base64
import hashlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from streamgage.records import UserRecord

HERE = Path(__file__).parent
KCL = "3.5.1"
KPL, KPL_BEFORE_STREAM_STRATEGIES = "1.1.1", "1.0.4"
BARRIER = None
"""In what is sent: wait until all before it is stored."""

_BUILD_S = 300
_RUN_S, _DUMP_S = 90, 5
# What Maven says where a registry is out of reach, rather than our sources wrong.
_UNRESOLVED = ("Could not resolve", "Could not transfer", "could not be resolved", "Could not find artifact")


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a client says that a user record is stored."""

    shard_id: str
    sequence_number: int


@dataclass(frozen=True, slots=True)
class Read:
    """A user record as the Kinesis Client Library gives it."""

    placed: Placed
    sub_sequence_number: int
    aggregated: bool
    arrival_ms: int
    record: UserRecord


class ClientFailed(Exception):
    """A client ended with another status than 0; the message is what it wrote to standard error."""


@dataclass(frozen=True, slots=True)
class JavaClients:
    """The programs beside this module, ready to run."""

    class_path: str
    home: Path

    def kpl_send(
        self, stream: str, records: Iterable[UserRecord | None], *, port: int, max_count: int | None = None
    ) -> list[Placed]:
        """Send *records* by the KPL to the TLS port *port* of this machine; return where each is stored.

        Raises:
            ClientFailed: one was not stored.
        """
        arguments = ["host=127.0.0.1", f"port={port}", f"stream={stream}", f"temp={self.home.parent}"]
        if max_count is not None:
            arguments.append(f"max_count={max_count}")
        return _placed(self._run("KplSend", arguments, records))

    def sdk_put(self, stream: str, records: Iterable[UserRecord | None], *, url: str) -> list[Placed]:
        """Put *records* by the AWS SDK in one request, one Kinesis record each; return where each is stored."""
        return _placed(self._run("SdkPut", [url, stream], records))

    def kcl_read(self, stream: str, *, url: str) -> list[Read]:
        """Return the user records of *stream*, read by the AWS SDK and taken apart by the KCL, shard by shard.

        Raises:
            ClientFailed: the SDK threw; its message is in the error's.
        """
        return [_read(json.loads(line)) for line in self._run("KclRead", [url, stream]).splitlines()]

    def kcl_run(self, stream: str, *, kinesis: str, aws: str, records: int, ended: int) -> list[str]:
        """Run the KCL until it gave as many user records and ended as many shards; return its lines.

        *aws* is where DynamoDB is, for its leases. A line is ``record SHARD DATA`` or ``ended SHARD``.

        Raises:
            ClientFailed: it gave fewer in its time.
        """
        return self._run(
            "KclRun", [kinesis, aws, stream, str(records), str(ended)], within_s=200
        ).splitlines()

    def _run(
        self,
        program: str,
        arguments: Sequence[str],
        records: Iterable[UserRecord | None] = (),
        *,
        within_s: int = _RUN_S,
    ) -> str:
        quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        command = [_tool("java"), "-Xmx512m", quiet, "-cp", self.class_path, f"streamgage.interop.{program}"]
        child = subprocess.Popen(
            [*command, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "AWS_EC2_METADATA_DISABLED": "true"},  # loopback only
        )
        try:
            output, complaints = child.communicate("".join(map(_line, records)), timeout=within_s)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGQUIT)  # a JVM answers with the stack of each thread
            with suppress(subprocess.TimeoutExpired):
                child.communicate(timeout=_DUMP_S)
            child.kill()
            raise ClientFailed(f"not done after {within_s} s:\n{''.join(child.communicate())}") from None
        if child.returncode:
            raise ClientFailed(complaints)
        return output


def build(*, kpl: str = KPL) -> JavaClients:
    """Return the programs, with the version *kpl* of the KPL, compiled unless they are already.

    Skips the test where Java or Maven is missing, or Maven cannot reach its registry; fails it where the sources do not
    compile.
    """
    return JavaClients(*_compiled(HERE, kpl, f"-Dkpl.version={kpl}"))


def build_kcl() -> JavaClients:
    """Return the program that runs the whole Kinesis Client Library; skips and fails as ``build`` does."""
    return JavaClients(*_compiled(HERE / "kcl", KCL, f"-Dkcl.version={KCL}"))


def _compiled(folder: Path, version: str, option: str) -> tuple[str, Path]:
    """Return the class path of the project in *folder*, and where it is kept."""
    java, maven = _tool("java"), _tool("mvn")
    home = _home(folder, version)
    class_path_file = home / "classpath.txt"
    if not _is_whole(class_path_file):
        arguments = ["-q", "-B", "-f", str(folder / "pom.xml"), option, f"-Dbuild.home={home}"]
        arguments += ["compile", "dependency:build-classpath", f"-Dmdep.outputFile={class_path_file}"]
        done = subprocess.run(
            [maven, *arguments], capture_output=True, text=True, timeout=_BUILD_S, check=False
        )
        if done.returncode:
            for line in done.stdout.splitlines():
                if any(sign in line for sign in _UNRESOLVED):
                    pytest.skip(f"Maven cannot fetch the clients: {line}")
            pytest.fail(f"{maven} with {java}:\n{done.stdout}{done.stderr}")
    return f"{home / 'classes'}{os.pathsep}{class_path_file.read_text().strip()}", home


def _tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed: AWS's own clients need Java 17 and Maven")
    return path


def _home(folder: Path, version: str) -> Path:
    digest = hashlib.sha256(version.encode())
    for source in (folder / "pom.xml", *sorted((folder / "src").rglob("*.java"))):
        digest.update(source.read_bytes())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "streamgage" / "interop" / digest.hexdigest()[:16]


def _is_whole(class_path_file: Path) -> bool:
    """Tell whether a build came to its end, and Maven's repository still has what it names."""
    if not class_path_file.exists():
        return False
    return all(Path(jar).exists() for jar in class_path_file.read_text().strip().split(os.pathsep))


def _line(record: UserRecord | None) -> str:
    if record is None:
        return "\n"
    hash_key = "" if record.explicit_hash_key is None else str(record.explicit_hash_key)
    return f"{_base64(record.partition_key.encode())}\t{hash_key}\t{_base64(record.data)}\n"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _placed(output: str) -> list[Placed]:
    pairs = (line.split("\t") for line in output.splitlines())
    return [Placed(shard_id, int(sequence_number)) for shard_id, sequence_number in pairs]


def _read(item: dict[str, Any]) -> Read:
    hash_key = item["hash_key"]
    return Read(
        Placed(item["shard"], int(item["sequence"])),
        item["subsequence"],
        item["aggregated"],
        item["arrival_ms"],
        UserRecord(
            base64.b64decode(item["key"]).decode(),
            base64.b64decode(item["data"]),
            None if hash_key is None else int(hash_key),
        ),
    )
