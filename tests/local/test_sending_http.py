"""docs/sending.md stays true of HTTP: each request of it is sent as it stands there, and answered as it says."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from support.collecting import counted, pipeline, serving, stored_in
from support.paths import ROOT
from support.scripted_kinesis import scripted_kinesis

SECTION = re.search(
    r"\n## HTTP\n(.*?)\n## ", (ROOT / "docs" / "sending.md").read_text(encoding="utf-8"), re.DOTALL
)
assert SECTION is not None
SNIPPETS = [each for each in re.findall(r"```sh\n(.*?)```", SECTION[1], re.DOTALL) if "curl" in each]


def answers_of(snippet: str, url: str) -> Sequence[dict[str, object]]:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", snippet.replace("curl ", "curl -sS ")],
        env={"PATH": os.environ["PATH"], "HTTP": url},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    decoder, at, found = json.JSONDecoder(), 0, list[dict[str, object]]()
    while at < len(done.stdout):
        answer, at = decoder.raw_decode(done.stdout, at)
        found.append(answer)
    return found


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_each_request_of_the_guide_is_taken_and_counts_once(tmp_path: Path) -> None:
    with scripted_kinesis() as (url, requests):
        with serving(tmp_path, url) as server:
            base = server.url.removesuffix("/v1/events")
            (one,), (two,), (first, again, envelope), (metrics,) = (
                answers_of(each, base) for each in SNIPPETS
            )
        assert json.loads(re.findall(r"```json\n(.*?)```", SECTION[1], re.DOTALL)[0]) == one  # type: ignore[index]
        assert two["accepted"] == 2
        assert (first["repeated"], again["repeated"], envelope["accepted"]) == (False, True, 1)
        assert metrics == {}
        times = counted(stored_in(requests), pipeline())
        assert times.pop(1767614400000) == 3  # in JSON, in a line and in OTLP
        assert [*times.values()] == [1] * 4
