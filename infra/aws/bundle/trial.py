"""A bundle's init, run before it is deployed: what fails there fails in every invocation.

It runs here, by this Python: the files are the deployed ones but for the compiled modules of libraries, which are those
that are installed (docs/adr/0017). Nothing of this environment is in its path, no service is called.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from infra.aws.bundle.bytecode import this_interpreter
from infra.aws.bundle.files import bundle_files, installed_libraries, our_imports, write_bundle
from infra.aws.bundle.functions import AGGREGATE, Function
from processors.pipeline_files import load_pipeline
from streamgage.errors import ConfigError

_LIMIT_S = 60  # Lambda gives an init 10 s; this machine may be busy
_SETTINGS = {
    "STREAMGAGE_STREAM": "trial",
    "STREAMGAGE_STREAM_ARN": "arn:aws:kinesis:us-east-1:000000000000:stream/trial",
    "STREAMGAGE_TABLE": "trial",
    "STREAMGAGE_QUARANTINE_URL": "https://sqs.us-east-1.amazonaws.com/000000000000/trial",
    "STREAMGAGE_QUARANTINE_BUCKET": "trial",
    "QUARANTINE_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/000000000000/trial",
    "CONNECTIONS_TABLE": "trial",
    "STREAM": "trial",
    "IDEMPOTENCY_TABLE": "trial",
    "KEYS_PARAMETER": "/streamgage/trial/CollectorKeys",
    "SOCKET_ENDPOINT": "https://trial.execute-api.us-east-1.amazonaws.com/live",
    "AWS_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "trial",
    "AWS_SECRET_ACCESS_KEY": "trial",
}
# -S: no site-packages. The last module is the entry, whose import builds the function in a task root.
_CODE = "import importlib, sys\nfor each in sys.argv[1:]: importlib.import_module(each)"


def try_init(pipeline: Path, function: Function = AGGREGATE) -> None:
    """Run the init of the bundle of *function* with *pipeline*, for each consumer of it.

    Raises:
        ConfigError: one fails; with the last words of it.
    """
    definition = load_pipeline(pipeline)
    files = bundle_files(pipeline, installed_libraries(function), function)
    with tempfile.TemporaryDirectory(prefix="streamgage-trial-") as folder:
        write_bundle(Path(folder), files, this_interpreter())
        problems = [
            f"{pipeline}: the {function.name} function of consumer {consumer} fails at init, so every invocation would: {words}"
            for consumer in definition.consumers
            if (words := _last_words(function, Path(folder), {"STREAMGAGE_CONSUMER": consumer}))
        ]
    if problems:
        raise ConfigError(*problems)


def _last_words(function: Function, task: Path, settings: Mapping[str, str]) -> str:
    modules = (*our_imports(function).later, function.entry)
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": str(task),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LAMBDA_TASK_ROOT": str(task),
        **_SETTINGS,
        **settings,
    }
    try:
        ended = subprocess.run(
            [sys.executable, "-P", "-S", "-c", _CODE, *modules],
            cwd=task,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it does not end within {_LIMIT_S} s"
    if ended.returncode == 0:
        return ""
    lines = ended.stderr.strip().splitlines()
    return lines[-1] if lines else f"it ends with {ended.returncode}, without a word"
