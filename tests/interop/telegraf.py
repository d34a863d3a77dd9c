"""The Telegraf of tests/interop/agents/telegraf, with the outputs that the guides show; it reads lines from a socket."""

import re
import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.local.stack.ports import any_port
from interop.definition import Reading
from interop.otel import AT_MS
from interop.programs import PATIENCE_S, Program, go_program, running
from support.paths import ROOT

_HEAD = """
[agent]
  flush_interval = "200ms"
  flush_jitter = "0s"
  metric_batch_size = 500
  metric_buffer_limit = 100000
  debug = true
  omit_hostname = true
[[inputs.socket_listener]]
  service_address = "tcp://127.0.0.1:{port}"
  data_format = "influx"
"""


def output_of(page: str, plugin: str) -> str:
    """Return the configuration of *plugin* that docs/*page* shows."""
    blocks = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.DOTALL)
    (found,) = [each for each in blocks if f"[[outputs.{plugin}]]" in each]
    return str(found)


@dataclass(frozen=True, slots=True)
class Agent:
    """A Telegraf that runs."""

    program: Program
    port: int

    def write(self, lines: Sequence[str]) -> None:
        """Hand it *lines*: it holds them, and sends them in its own time."""
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S) as open_socket:
                    open_socket.sendall("".join(f"{each}\n" for each in lines).encode())
                    return
            except ConnectionRefusedError:  # it listens a moment after it says so
                assert time.monotonic() < deadline_s
                time.sleep(0.02)


@contextmanager
def telegraf(folder: Path, environment: Mapping[str, str], output: str) -> Iterator[Agent]:
    """Run it with the *output*."""
    program = go_program("telegraf")
    port = any_port()
    page = folder / "telegraf.conf"
    page.write_text(_HEAD.replace("{port}", str(port)) + output)
    named = {"STREAMGAGE_KEY": "-", "AWS_REGION": "us-east-1"}
    with running([program, page], {**named, **environment}, folder / "telegraf.log") as agent:
        agent.await_said("Listening on")
        yield Agent(agent, port)


def lines_of(host: str, count: int) -> list[str]:
    """Return lines a ms apart, of two fields each."""
    return [
        f"weather,host={host} t={each / 4},n={each}i {(AT_MS + each) * 1_000_000}" for each in range(count)
    ]


def readings_of(host: str, count: int) -> Counter[Reading]:
    """Return what ``lines_of`` counts as."""
    found = Counter[Reading]()
    for each in range(count):
        found[host, "t", AT_MS + each, each / 4] = found[host, "n", AT_MS + each, float(each)] = 1
    return found
