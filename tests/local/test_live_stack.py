"""Live updates as a part of the stack: a write to the table reaches a WebSocket; versions, kills, and stacks without them."""

import json
import os
import shutil
import signal
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from infra.commands.code import CODE
from infra.commands.env import exports
from infra.local.stack.children import wait_until
from infra.local.stack.clients import local_client
from infra.local.stack.home import Home, StackInfo, is_alive
from infra.local.stack.running import running
from infra.local.stack.supervisor import Stack, StackOptions
from infra.local.stack.tables import Engine
from infra.local.stack.versions import publish, shift
from streamgage.errors import ConfigError
from support.paths import ROOT
from support.served import HANDLERS, PATIENCE_S
from support.sockets import SocketClient, connected

pytestmark = pytest.mark.local

TEMPLATE = ROOT / "tests" / "infra" / "templates" / "live.yaml"


def build(folder: Path, _: Path, __: str = "") -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(HANDLERS, folder / "handlers.py")


def options(home: Home, **parameters: str) -> StackOptions:
    return StackOptions(
        home=home, pipeline=ROOT / "pipeline.toml", code=CODE._replace(api=build, of_handler=build), template=TEMPLATE,
        aws_port=0, kinesis_port=0, parameters=parameters,
    )  # fmt: skip


def connect(stack: ExitStack, info: StackInfo) -> SocketClient:
    place = urlsplit(info.endpoints["live"])
    assert place.scheme == "ws"
    assert place.port is not None
    return stack.enter_context(connected(place.port, place.path))


def write(info: StackInfo, pk: str) -> None:
    tables = local_client("dynamodb", info.endpoints["dynamodb"], info.credentials)
    tables.put_item(TableName=info.table, Item={"pk": {"S": pk}, "sk": {"S": "s"}, "secret": {"S": "s"}})


def news(client: SocketClient, pk: str) -> dict[str, Any]:
    """Return the record of the item *pk*, which may come behind others."""
    while True:
        for each in client.message()["records"]:
            if each["dynamodb"]["Keys"]["pk"]["S"] == pk:
                found: dict[str, Any] = each
                return found


def writes(info: StackInfo, pk: str) -> bool:
    try:
        write(info, pk)
    except (BotoCoreError, ClientError):
        return False
    return True


def killed(home: Home, role: str) -> None:
    """Kill *role*, and wait until it was started again."""
    pid = home.info().pids[role]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: home.info().pids.get(role) not in (None, pid), seconds=PATIENCE_S, what=role)


def runs(home: Home) -> bool:
    """Tell whether who tells changes has read the end of the stream."""
    return home.changes_status().get("is_reading") is True


def test_a_write_reaches_a_socket_over_kills_of_all_that_tells_it(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with running(options(home)) as info, ExitStack() as clients:
        assert f"export LIVE={info.endpoints['live']}" in exports(info)
        client = connect(clients, info)
        wait_until(lambda: runs(home), seconds=PATIENCE_S, what="who tells changes")
        write(info, "first")
        record = news(client, "first")
        assert record["dynamodb"]["Keys"] == {"pk": {"S": "first"}, "sk": {"S": "s"}}
        assert record["eventSourceARN"].startswith(
            f"arn:aws:dynamodb:eu-central-1:000000000000:table/{info.table}/stream/"
        )
        assert "secret" not in json.dumps(record)
        client.send({"action": "ping"})
        while "version" not in (said := client.message()) or "records" in said:
            continue
        assert said["version"] == "$LATEST"

        killed(home, "changes")  # it begins anew, at the end of the stream
        wait_until(
            lambda: runs(home) and home.changes_status()["changes"]["read"] == 0,
            seconds=PATIENCE_S,
            what="a new one",
        )
        write(info, "second")
        assert news(client, "second")
        killed(home, "dynamodb")  # nothing that is written is missed
        wait_until(lambda: writes(info, "third"), seconds=PATIENCE_S, what="the tables")
        assert news(client, "third")
        assert home.changes_status()["changes"]["given_up"] == 0

        version = publish(home, ROOT / "pipeline.toml", CODE.bundle, build_api=build, build_other=build)
        shift(home, version, say=lambda _: None)
        client.send({"action": "ping"})
        write(info, "updated")
        versions = set[tuple[str, bool]]()
        while len(versions) < 2:
            said = client.message()
            versions.add((said["version"], "records" in said))
        assert versions == {("1", False), ("1", True)}
        told = [home.gateway_status()["sandboxes"], home.changes_status()["sandboxes"]]
        pids = [*home.info().pids.values(), *(pid for each in told for pid in each)]
    assert not [pid for pid in pids if is_alive(pid) and pid != os.getpid()]


def test_without_the_condition_there_is_neither_socket_nor_stream(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with running(options(home, Live="false")) as info:
        assert "live" not in info.endpoints
        assert "changes" not in info.pids
        assert not [each for each in exports(info) if "LIVE" in each]
        tables = local_client("dynamodb", info.endpoints["dynamodb"], info.credentials)
        assert "StreamSpecification" not in tables.describe_table(TableName=info.table)["Table"]


@pytest.mark.parametrize("engine", [Engine.LOCAL, Engine.MINISTACK])
def test_other_engines_have_streams_of_their_own(
    tmp_path: Path, engine: Engine, request: pytest.FixtureRequest
) -> None:
    if engine is Engine.LOCAL:
        request.getfixturevalue("dynamodb_local")  # or skip
    home = Home(tmp_path / "home")
    wanted = replace(options(home), dynamodb=engine, keep_tables=False)
    with running(wanted) as info, ExitStack() as clients:
        client = connect(clients, info)
        wait_until(lambda: runs(home), seconds=PATIENCE_S, what="who tells changes")
        for number in range(20):
            write(info, str(number))
        assert news(client, "19")


def test_a_function_without_code_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no code for it"):
        Stack(
            replace(options(Home(tmp_path / "home")), code=CODE._replace(api=build, of_handler=None))
        ).start()
