"""The stream of a kept home: changed as a person says, refused where it cannot be, and otherwise left as it is."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra.local.stack.aws_only import check_parameters
from infra.local.stack.home import Home
from infra.local.stack.stream import keep_stream
from streamgage.errors import ConfigError

ALL = {"StreamMode", "ShardCount", "RetentionHours"}


class InUse(ClientError):  # type: ignore[misc]  # botocore is untyped
    """CreateStream of a stream that is there."""

    def __init__(self) -> None:
        super().__init__({"Error": {"Code": "ResourceInUseException"}}, "CreateStream")


class FakeKinesis:
    """One stream, which reshards at once, to double at most."""

    exceptions = SimpleNamespace(ResourceInUseException=InUse)

    def __init__(self) -> None:
        self.shards, self.hours, self.mode = 0, 24, ""

    def create_stream(self, **asked: Any) -> None:
        if self.shards:
            raise InUse
        self.shards, self.mode = asked.get("ShardCount", 4), asked["StreamModeDetails"]["StreamMode"]

    def describe_stream_summary(self, **_: str) -> dict[str, Any]:
        return {
            "StreamDescriptionSummary": {
                "OpenShardCount": self.shards, "RetentionPeriodHours": self.hours, "StreamStatus": "ACTIVE",
                "StreamModeDetails": {"StreamMode": self.mode},
            }
        }  # fmt: skip

    def update_shard_count(self, **asked: Any) -> None:
        if asked["TargetShardCount"] > 2 * self.shards:
            message = {"Error": {"Code": "LimitExceededException", "Message": "up over double"}}
            raise ClientError(message, "UpdateShardCount")
        self.shards = asked["TargetShardCount"]

    def increase_stream_retention_period(self, **asked: Any) -> None:
        assert asked["RetentionPeriodHours"] > self.hours
        self.hours = asked["RetentionPeriodHours"]

    def decrease_stream_retention_period(self, **asked: Any) -> None:
        assert asked["RetentionPeriodHours"] < self.hours
        self.hours = asked["RetentionPeriodHours"]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def keep(home: Home, kinesis: FakeKinesis, *, given: set[str], **values: Any) -> tuple[int, int]:
    wanted = {"ShardCount": "2", "RetentionPeriodHours": "24", "mode": "PROVISIONED", **values}
    mode = wanted.pop("mode")
    keep_stream(home, kinesis, "s", {**wanted, "StreamModeDetails": {"StreamMode": mode}}, unsaid=ALL - given)
    return kinesis.shards, kinesis.hours


def test_what_is_given_is_carried_out_up_and_down_and_what_is_not_given_changes_nothing(home: Home) -> None:
    kinesis = FakeKinesis()
    assert keep(home, kinesis, given=set(), RetentionPeriodHours="48") == (
        2,
        48,
    )  # the template's own default
    assert keep(home, kinesis, given={"ShardCount"}, ShardCount="4") == (4, 48)
    assert keep(home, kinesis, given=set()) == (4, 48)
    assert keep(home, kinesis, given={"RetentionHours"}, RetentionPeriodHours="168") == (4, 168)
    assert keep(home, kinesis, given={"RetentionHours", "ShardCount"}, ShardCount="3") == (3, 24)
    assert keep(home, kinesis, given={"ShardCount"}, ShardCount="4") == (4, 24)


def test_what_a_person_resharded_by_hand_stays_until_another_number_is_given(home: Home) -> None:
    kinesis = FakeKinesis()
    keep(home, kinesis, given={"ShardCount"}, ShardCount="2")
    kinesis.shards = 3
    assert keep(home, kinesis, given={"ShardCount"}, ShardCount="2") == (3, 24)
    assert keep(home, kinesis, given={"ShardCount"}, ShardCount="4") == (4, 24)


def test_a_home_of_before_that_has_no_note_is_compared_with_its_stream(home: Home) -> None:
    kinesis = FakeKinesis()
    keep(home, kinesis, given=set())
    home.stream_file.unlink()
    assert keep(home, kinesis, given=set()) == (2, 24)
    home.stream_file.unlink()
    assert keep(home, kinesis, given={"ShardCount"}, ShardCount="3") == (3, 24)


def test_what_cannot_be_changed_is_refused_in_a_sentence_and_asked_again_the_next_time(home: Home) -> None:
    kinesis = FakeKinesis()
    keep(home, kinesis, given=set())
    for _ in range(2):
        with pytest.raises(
            ConfigError, match="cannot be changed as --param or the template says: up over double"
        ):
            keep(home, kinesis, given={"ShardCount"}, ShardCount="5")
        with pytest.raises(ConfigError, match="is PROVISIONED, and StreamMode says ON_DEMAND"):
            keep(home, kinesis, given={"StreamMode"}, mode="ON_DEMAND")
    assert keep(home, kinesis, given=set()) == (2, 24)


def test_what_is_only_for_aws_is_refused(home: Home) -> None:
    check_parameters({"SharedStreamArn": "", "SharedTable": "", "ShardCount": "2"})
    with pytest.raises(ConfigError, match="SharedStreamArn and SharedTable: only on AWS"):
        check_parameters({"SharedStreamArn": "arn", "SharedTable": "t"})
    check_parameters({"Page": "false", "SignIn": "none", "PageDomain": ""})
    with pytest.raises(ConfigError, match="PageDomain and Page and SignIn: only on AWS"):
        check_parameters({"Page": "true", "SignIn": "cognito", "PageDomain": "a.example.com"})
