"""docs/http.md stays true: what it asks is answered, and what it says of bounds is what the code has."""

import re
import shlex
from urllib.parse import quote

import pytest

from processors.live import parameters, replies, request
from processors.live.settings import Settings
from processors.pipeline_files import load_pipeline
from support.fakes import InMemoryItemStore
from support.http_face import Face, FakeStack
from support.paths import ROOT

PAGE = (ROOT / "docs" / "http.md").read_text(encoding="utf-8")
CURLS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
FACE = Face(FakeStack(InMemoryItemStore(), load_pipeline(ROOT / "pipeline.toml")))


def asked(line: str) -> tuple[str, dict[str, str]]:
    """Return what a curl of the page asks for: the target, and headers."""
    program, *words = shlex.split(line)
    assert program == "curl"
    target, pairs, headers = "", [], {}
    while words:
        word = words.pop(0)
        if word.startswith("$HTTP"):
            target = word.removeprefix("$HTTP")
        elif word == "-H":
            name, _, value = words.pop(0).partition(": ")
            headers[name] = value
        elif word in ("-d", "--data-urlencode"):
            name, _, value = words.pop(0).partition("=")
            pairs.append(f"{name}={quote(value)}")
        elif word == "--compressed":
            headers["Accept-Encoding"] = "gzip"
        else:
            assert word in ("-G", "-o"), word
            if word == "-o":
                words.pop(0)
    return target + ("?" if pairs else "") + "&".join(pairs), headers


@pytest.mark.parametrize("line", CURLS)
def test_what_the_page_asks_is_answered(line: str) -> None:
    target, headers = asked(line)
    found = FACE(target, headers=headers)
    assert found.status == 200, found.body


def test_what_the_page_says_of_bounds_is_so() -> None:
    assert (request.QUERY_BYTES, request.BODY_BYTES) == (8 * 1024, 64 * 1024)
    assert (parameters.MOST_ROWS, replies.MOST_SENT_BYTES) == (100_000, 6 * 2**20 - 128 * 2**10)
    assert replies.SETTLED_S == 60
    for text in (
        "| 8 kB, then 414 |",
        "| 64 kB, then 413 |",
        "| 100,000;",
        "| 6 MB as Lambda counts it, less 128 kB;",
        "kept for a minute",
    ):
        assert text in PAGE, text


def test_the_page_names_every_path_and_every_switch() -> None:
    paths = FACE("/v1/openapi.json").json["paths"]
    for path in paths:
        assert path.split("/api/v1/")[0] in PAGE, path
    assert {"STREAMGAGE_KEYS_CLAIM", "STREAMGAGE_HTTP_ORIGINS"} <= set(
        re.findall(r"STREAMGAGE_[A-Z_]+", PAGE)
    )
    assert Settings.__dataclass_fields__.keys() >= {"keys_claim", "origins"}
