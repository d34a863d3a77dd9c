"""``streamgage keys``: in a file, in a home, on AWS; a secret is printed once, and the keys alone are kept."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from infra.aws.collector_keys import MOST_LETTERS, ParameterKeys
from infra.commands.keys import next_id
from infra.commands.main import main
from infra.local.stack.home import Home
from infra.local.stack.keys import hand_over_keys, read_keys, write_keys
from producers.collector.keys import OPEN, Caller, KeyRefused, Keys, keys_text, new_key, parse_keys
from streamgage.errors import ConfigError, RetryableError

NAME = "/streamgage/plant/CollectorKeys"
NOW_MS = 1_767_614_400_000
FAR_MS = NOW_MS * 2
PAGE = "https://example.com"


def key(number: int = 0) -> Any:
    return new_key(f"k{number}", bytes(32), made_ms=NOW_MS)[0]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("STREAMGAGE_HOME", str(tmp_path / "home"))
    return Home(tmp_path / "home")


def test_the_key_alone_is_on_stdout_and_is_what_opens(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "create", "web", "--source", "click", "--origin", PAGE]) == 0
    said = capsys.readouterr()
    secret = said.out.strip()
    keys = read_keys(home)
    assert keys.check(secret, PAGE, FAR_MS) == Caller("web", frozenset({"click"}), "web")
    assert isinstance(keys.check(None, None, FAR_MS), KeyRefused)
    assert "until it is revoked. It is shown once" in said.err
    kept = home.keys_file.read_text()
    assert secret.split("_", 2)[2] not in kept  # it may hold a _ itself
    assert home.keys_file.stat().st_mode & 0o077 == 0


def test_a_file_is_what_collect_reads_and_says_no_open_door(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "keys.json"
    assert main(["keys", "create", "edge", "--file", str(path)]) == 0
    secret = capsys.readouterr().out.strip()
    assert parse_keys(path.read_text()).check(secret, None, FAR_MS) == Caller("edge", None, "edge")
    assert path.stat().st_mode & 0o077 == 0
    assert main(["keys", "revoke", "edge", "--file", str(path)]) == 0
    assert "nobody may send" in capsys.readouterr().out
    assert parse_keys(path.read_text()) == Keys()


def test_two_keys_hold_while_one_takes_the_others_place(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["keys", "create", "web", "--source", "click"])
    old = capsys.readouterr().out.strip()
    assert main(["keys", "rotate", "web", "--keep", "1h"]) == 0
    new = capsys.readouterr().out.strip()
    keys = read_keys(home)
    now_ms = keys.named("web-2").made_ms
    for secret in (old, new):
        assert isinstance(keys.check(secret, None, now_ms), Caller)
    later_ms = now_ms + 3_600_000
    assert isinstance(keys.check(old, None, later_ms), KeyRefused)
    assert keys.check(new, None, later_ms) == Caller("web-2", frozenset({"click"}), "web")
    assert main(["keys", "list", "--format", "json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [each["id"] for each in listed] == ["web", "web-2"]
    assert "hash" not in listed[0]


def test_a_key_in_place_of_one_that_was_to_end_ends_too(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (["create", "web", "--expires", "30d"], ["rotate", "web", "--keep", "60d"]):
        assert main(["keys", *arguments]) == 0
    assert main(["keys", "rotate", "web-2", "--keep", "60d", "--expires", "1h"]) == 0
    capsys.readouterr()
    lives_ms = [(each.expires_ms or 0) - each.made_ms for each in read_keys(home).entries]
    assert lives_ms == [30 * 86_400_000, 30 * 86_400_000, 3_600_000]


def test_keys_that_were_rotated_twice_are_of_one_line_and_a_stranger_gets_no_id_of_it(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (["create", "web"], ["rotate", "web"], ["rotate", "web-2"], ["revoke", "web"]):
        assert main(["keys", *arguments]) == 0
    assert [(each.id, each.line) for each in read_keys(home).entries] == [("web-2", "web"), ("web-3", "web")]
    assert main(["keys", "create", "web"]) != 0
    assert "web-2, web-3 was made in place of a key web: name another" in capsys.readouterr().err


def test_what_is_wrong_is_said_and_changes_nothing(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["keys", "list"]) == 0
    assert "whoever has the address may send" in capsys.readouterr().out
    assert not home.root.exists()  # to look makes nothing
    main(["keys", "create", "web"])
    before = home.keys_file.read_bytes()
    for arguments, says in (
        (["create", "web"], "there is a key web already"),
        (["create", "a_b"], "its id is"),
        (["create", "c", "--origin", "example.com"], "origins is a list"),
        (["create", "c", "--expires", "soon"], "--expires 'soon': a duration is"),
        (["revoke", "other"], "there is no key other; there are: web"),
        (["rotate", "other"], "there is no key other"),
        (["list", "--stack", "plant"], "say --target aws"),
        (["list", "--target", "aws", "--file", str(tmp_path / "f")], "which of the two"),
    ):
        assert main(["keys", *arguments]) != 0
        assert says in capsys.readouterr().err
    assert home.keys_file.read_bytes() == before
    home.keys_file.write_text(home.keys_file.read_text().replace("web", "wub"))
    assert main(["keys", "list"]) != 0
    assert "keys.json is damaged" in capsys.readouterr().err


def test_the_next_id_is_free() -> None:
    keys = Keys((key(1),))
    assert next_id(keys, "web") == "web-2"
    assert next_id(keys, "web-9") == "web-10"
    assert next_id(Keys((new_key("web-2", bytes(32), made_ms=0)[0],)), "web") == "web-3"
    assert next_id(keys, "gate-a") == "gate-a-2"


class Parameters:
    """The SSM of the emulator, as far as it is asked."""

    def __init__(self) -> None:
        self.put: list[dict[str, Any]] = []

    def put_parameter(self, **asked: Any) -> None:
        self.put.append(asked)


def test_the_stack_hands_over_what_the_home_keeps_to_the_function_where_there_is_one(home: Home) -> None:
    parameters = Parameters()
    function = {"env": {"KEYS_PARAMETER": NAME}}
    hand_over_keys(home, lambda _: parameters, None)
    hand_over_keys(home, lambda _: parameters, function)
    write_keys(home, OPEN.plus(key()))
    hand_over_keys(home, lambda _: parameters, function)
    assert [(each["Name"], each["Overwrite"]) for each in parameters.put] == [(NAME, True)] * 2
    assert [parse_keys(each["Value"]) for each in parameters.put] == [OPEN, OPEN.plus(key())]


@pytest.fixture
def ssm() -> Iterator[Stubber]:
    client = boto3.client("ssm", region_name="eu-central-1", aws_access_key_id="k", aws_secret_access_key="s")  # noqa: S106
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def read(stubber: Stubber, keys: Keys, version: int) -> None:
    found = {"Value": keys_text(keys), "Version": version}
    stubber.add_response("get_parameter", {"Parameter": found}, {"Name": NAME})


def written(stubber: Stubber, keys: Keys, version: int, *, overwrites: bool = True) -> None:
    asked = {"Name": NAME, "Value": keys_text(keys), "Type": "String", "Overwrite": overwrites}
    stubber.add_response("put_parameter", {"Version": version}, asked)


def test_the_first_key_makes_the_parameter_and_the_next_writes_it(ssm: Stubber) -> None:
    store = ParameterKeys(ssm.client, NAME)
    ssm.add_client_error("get_parameter", "ParameterNotFound")
    assert store.read() == Keys()
    written(ssm, Keys((key(),)), 1, overwrites=False)
    store.write(Keys((key(),)))
    read(ssm, Keys((key(),)), 4)
    both = store.read().plus(key(1))
    written(ssm, both, 5)
    store.write(both)


def test_who_wrote_meanwhile_is_not_undone_in_silence(ssm: Stubber) -> None:
    store = ParameterKeys(ssm.client, NAME)
    ssm.add_client_error("get_parameter", "ParameterNotFound")
    store.read()
    ssm.add_client_error("put_parameter", "ParameterAlreadyExists")
    with pytest.raises(RetryableError, match="Nothing was written"):
        store.write(Keys((key(),)))
    read(ssm, Keys((key(),)), 4)
    store.read()
    written(ssm, Keys(), 6)
    with pytest.raises(RetryableError, match="somebody else changed the keys meanwhile"):
        store.write(Keys())


def test_more_than_a_parameter_holds_is_refused_before_it_is_asked(ssm: Stubber) -> None:
    many = Keys(tuple(key(number) for number in range(40)))
    assert len(keys_text(many)) > MOST_LETTERS
    with pytest.raises(ConfigError, match="revoke those that nobody uses"):
        ParameterKeys(ssm.client, NAME).write(many)


def test_a_parameter_that_is_gone_is_deleted_already(ssm: Stubber) -> None:
    store = ParameterKeys(ssm.client, NAME)
    ssm.add_response("delete_parameter", {}, {"Name": NAME})
    ssm.add_client_error("delete_parameter", "ParameterNotFound")
    assert [store.delete(), store.delete()] == [True, False]
