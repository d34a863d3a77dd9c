"""Peers in a virtual environment of their own: a process a turn, the events in a file, the answer in another."""

import base64
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT, Contestant, Measured
from streamgage.errors import StreamgageError

INTERPRETER = ROOT / ".streamgage" / "peersvenv" / "bin" / "python"
ABSENT = "not measured: `make bench` sets its virtual environment up (requirements/peers.lock)"
_HERE = Path(__file__).parent
_TIMEOUT_S = 600


class PeerError(StreamgageError):
    """A peer's process failed; its own words are in the message."""

    code = "peer_failed"


def are_installed() -> bool:
    """Tell whether the peers' virtual environment is there."""
    return INTERPRETER.exists()


@dataclass(frozen=True, slots=True)
class Input:
    """The file that a peer's process reads: what it is to work on, written once."""

    path: Path

    def contestant(self, script: str, *arguments: str) -> Contestant:
        """Return the contestant that runs the peer *script* on this input, with *arguments* of its own.

        The process says how much CPU time the compared part took (all of its threads; not its start and imports).
        """

        def turn() -> Measured:
            with tempfile.TemporaryDirectory() as scratch:
                answer = Path(scratch, "answer.json")
                done = subprocess.run(
                    [str(INTERPRETER), str(_HERE / f"{script}.py"), str(self.path), str(answer), *arguments],
                    cwd=scratch,
                    env={"PATH": os.environ["PATH"], "HOME": scratch},
                    capture_output=True,
                    text=True,
                    timeout=_TIMEOUT_S,
                    check=False,
                )
                if done.returncode:
                    raise PeerError(f"{script} ended with {done.returncode}: {done.stderr[-2000:]}")
                content = json.loads(answer.read_text(encoding="utf-8"))
            return Measured(content["cpu_s"], content["answer"])

        return turn


@contextmanager
def input_file(content: Mapping[str, Any]) -> Iterator[Input]:
    """Write *content* for peers to read, as JSON; the file lives as long as the context."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "input.json")
        path.write_text(json.dumps(content), encoding="utf-8")
        yield Input(path)


def as_text(payloads: Sequence[bytes]) -> list[str]:
    """Return *payloads* as base64, for JSON."""
    return [base64.b64encode(each).decode("ascii") for each in payloads]
