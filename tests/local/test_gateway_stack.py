"""The HTTP API as a part of the stack: its address, its role, its versions. The function is a test's own."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from infra.commands.code import CODE
from infra.commands.env import exports
from infra.local.stack.children import wait_until
from infra.local.stack.home import Home, StackInfo, is_alive
from infra.local.stack.running import running
from infra.local.stack.supervisor import Stack, StackOptions
from infra.local.stack.versions import publish, shift, version_before
from streamgage.errors import ConfigError
from support.paths import ROOT
from support.served import HANDLERS, PATIENCE_S

pytestmark = pytest.mark.local

TEMPLATE = ROOT / "tests" / "infra" / "templates" / "gateway.yaml"


def build_api(folder: Path, _: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(HANDLERS, folder / "handlers.py")


def options(home: Home, **parameters: str) -> StackOptions:
    return StackOptions(
        home=home, pipeline=ROOT / "pipeline.toml", code=CODE._replace(api=build_api), template=TEMPLATE,
        aws_port=0, kinesis_port=0, parameters=parameters,
    )  # fmt: skip


@contextmanager
def stack(home: Home, **parameters: str) -> Iterator[StackInfo]:
    """A stack in this process; in the end none of its processes is left."""
    with running(options(home, **parameters)) as info:
        yield info
        pids = [*home.info().pids.values(), *home.gateway_status().get("sandboxes", [])]
    assert not [pid for pid in pids if is_alive(pid) and pid != os.getpid()]


def ask(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:  # noqa: S310 - our own loopback URL
        return json.loads(answer.read())


def command(home: Home, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "infra.commands.main", *arguments],
        env={**os.environ, "STREAMGAGE_HOME": str(home.root), "COLUMNS": "80"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def test_the_address_is_told_to_its_owner_and_stays_over_crashes_and_starts(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with stack(home) as info:
        base = info.endpoints["http"]
        assert ask(f"{base}/v1/version") == {"version": "$LATEST", "table": info.table}
        assert json.loads(command(home, "status", "--format", "json"))["endpoints"]["http"] == base
        assert f"page: {base}/\n" in command(home, "status")
        assert {f"export HTTP={base}", f"export STREAMGAGE_HTTP={base}"} <= set(exports(info))
        assert "gateway" in command(home, "status")
        secret = urlsplit(base).path.strip("/").encode()
        for path in (each for each in home.root.rglob("*") if each.is_file() and secret in each.read_bytes()):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path

        pid = home.info().pids["gateway"]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: home.info().pids["gateway"] != pid, seconds=PATIENCE_S, what="another gateway")
        wait_until(lambda: answers(base), seconds=PATIENCE_S, what="its answer")
        assert home.info().endpoints["http"] == base
    with stack(home) as info:
        assert info.endpoints["http"] == base
        assert answers(base)


def answers(base: str) -> bool:
    try:
        return bool(ask(f"{base}/v1/ok"))
    except urllib.error.URLError:
        return False


def test_update_gives_both_functions_another_version_and_back(tmp_path: Path) -> None:
    home, said = Home(tmp_path / "home"), list[str]()

    def runs() -> tuple[object, object]:
        return ask(f"{home.info().endpoints['http']}/v1/version")["version"], home.status()["version"]

    with stack(home):
        assert runs() == ("$LATEST", "$LATEST")
        os.kill(home.info().pids["gateway"], signal.SIGKILL)  # it comes again, and with it the version
        version = publish(home, ROOT / "pipeline.toml", CODE.bundle, build_api=build_api)
        shift(home, version, say=said.append)
        wait_until(lambda: answers(home.info().endpoints["http"]), seconds=PATIENCE_S, what="the gateway")
        assert runs() == ("1", "1")
        (home.root / "versions" / "2").mkdir()
        with pytest.raises(ConfigError, match="version 2 has no bundle for the gateway"):
            shift(home, "2", say=said.append)
        (home.root / "versions" / "2-api").mkdir()
        with pytest.raises(ConfigError, match="version 2 is refused by the gateway"):
            shift(home, "2", say=said.append)
        build_api(home.root / "versions" / "2-api", ROOT)
        with pytest.raises(ConfigError, match="version 2 is refused by the mapping"):
            shift(home, "2", say=said.append)
        wait_until(lambda: runs() == ("1", "1"), seconds=PATIENCE_S, what="both as before")
        shift(home, version_before(home), say=said.append)
        assert runs() == ("$LATEST", "$LATEST")


def test_where_the_template_has_no_api_there_is_no_gateway_and_no_address(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with stack(home, Served="false") as info:
        assert "http" not in info.endpoints
        assert "gateway" not in info.pids
        assert "page:" not in command(home, "status")
        assert not [each for each in exports(info) if "HTTP" in each]


def test_with_every_condition_on_an_authorizer_that_is_not_asked_is_told_and_wanted_origins_may_read(
    tmp_path: Path,
) -> None:
    said, origins = list[str](), ("https://a.example", "https://b.example")
    wanted = {"JwtIssuer": "https://issuer.example", "Origins": ",".join(origins)}
    started = Stack(options(Home(tmp_path / "home"), **wanted), say=said.append)
    try:
        started.start()
        base = started.info.endpoints["http"]
        assert answers(base)
        for origin in origins:
            assert read_by(base, origin) == origin
        with pytest.raises(urllib.error.HTTPError, match="403"):
            read_by(base, "https://evil.example")
    finally:
        started.stop()
    (line,) = [each for each in said if "says who may ask" in each]
    assert line.startswith("$default: on AWS JWT")


def read_by(base: str, origin: str) -> str:
    """Return which origin a page of *origin* is told that it may read as."""
    asked = urllib.request.Request(f"{base}/v1/ok", headers={"Origin": origin})  # noqa: S310 - our own loopback URL
    with urllib.request.urlopen(asked, timeout=PATIENCE_S) as answer:  # noqa: S310 - see above
        return str(answer.headers["Access-Control-Allow-Origin"])


def test_an_api_without_code_is_refused_before_anything_is_kept(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no code for its function"):
        Stack(replace(options(Home(tmp_path / "home")), code=CODE._replace(api=None))).start()
