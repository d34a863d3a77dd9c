"""SnapStart: what the function does before its snapshot is taken. It needs no runtime hooks because of this."""

import subprocess
import sys

from support.fakes import STREAM_ARN
from support.paths import ROOT

# What CPython reports of sockets, names and processes to an audit hook.
_SCRIPT = """
import sys
used = []
sys.addaudithook(lambda event, _: used.append(event) if event.startswith(("socket.", "subprocess.")) else None)
import processors.aggregate.function
assert processors.aggregate.function._aggregate is not None, "it was not built"
print(used)
"""


def in_a_sandbox(script: str) -> str:
    child = subprocess.run(
        [sys.executable, "-P", "-c", script],
        env={
            "LAMBDA_TASK_ROOT": "/var/task",
            "AWS_REGION": "eu-central-1",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "token",
            "STREAMGAGE_STREAM": "telemetry",
            "STREAMGAGE_STREAM_ARN": STREAM_ARN,
            "STREAMGAGE_TABLE": "aggregates",
            "STREAMGAGE_QUARANTINE_URL": "https://sqs.eu-central-1.amazonaws.com/111122223333/quarantine",
            "STREAMGAGE_QUARANTINE_BUCKET": "failed-batches",
            "STREAMGAGE_PIPELINE": str(ROOT / "pipeline.toml"),
        },
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    return child.stdout.strip()


def test_building_the_function_opens_no_connection_and_asks_for_no_credentials() -> None:
    assert in_a_sandbox(_SCRIPT) == "[]"


def test_a_question_for_credentials_would_be_seen() -> None:
    ask = "from contextlib import suppress\nfrom processors.deadline import Deadline\nwith suppress(Exception):\n    processors.aggregate.function._credentials()(Deadline.after(5))\n"
    assert "socket.connect" in in_a_sandbox(_SCRIPT.replace("print(used)", f"{ask}print(used)"))
