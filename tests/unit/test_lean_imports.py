"""What the function loads is a list: a module that joins it unasked costs every cold start."""

import json
import subprocess
import sys

# Of what the lean client loads, all that the rest of the function does not load anyway.
LEAN = {
    "_blake2", "_hashlib", "_socket", "_ssl", "array", "hashlib", "hmac", "select", "selectors", "socket", "ssl",
    "processors.awsjson", "processors.awsjson.client", "processors.awsjson.connections",
    "processors.awsjson.credentials", "processors.awsjson.endpoint", "processors.awsjson.http1",
    "processors.awsjson.retry", "processors.awsjson.signing", "processors.lean_dynamodb", "processors.lean_sqs",
}  # fmt: skip
HEAVY = ("boto3", "botocore.", "s3transfer", "urllib3", "http.client", "email", "asyncio", "encodings.idna")
SCRIPT = """
import json, sys
import awslambdaric.bootstrap, aws_lambda_powertools.metrics
import processors.aggregate, processors.settings, streamgage.pipeline_toml
before = set(sys.modules)
import processors.lean_dynamodb, processors.lean_sqs
lean = sorted(set(sys.modules) - before)
import processors.function
json.dump([lean, sorted(sys.modules)], sys.stdout)
"""


def test_the_lean_client_loads_what_it_needs_and_the_function_loads_no_boto3() -> None:
    child = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, check=True, timeout=60)
    lean, everything = json.loads(child.stdout)
    assert set(lean) <= LEAN
    assert [name for name in everything if f"{name}.".startswith(HEAVY) and name != "botocore"] == []
