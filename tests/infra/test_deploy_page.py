"""The page's upload, by moto: what is written, when nothing is, and in which order."""

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from conftest import REGION, ClientFactory
from infra.aws.deploy.deployment import Plan, Wanted
from infra.aws.deploy.destroy_data import BotoDataStores
from infra.aws.deploy.follow import Outcome
from infra.aws.deploy.page import PageBucket, SignIn, version_of
from infra.aws.deploy.ports import StackResource
from infra.commands import deploy, diff
from infra.commands.account import Surroundings
from infra.commands.page import PageUpload
from infra.template.page import page_files
from streamgage.errors import ConfigError
from support.deploy_fakes import FakeClock, Told

SIGN_IN = SignIn(
    "https://x.auth.eu-central-1.amazoncognito.com", "https://issuer/pool", "client", by_keys=False
)
OWNER = "123456789012"


@pytest.fixture
def s3(moto: ClientFactory) -> Any:
    s3 = moto("s3")
    s3.create_bucket(Bucket="page", CreateBucketConfiguration={"LocationConstraint": REGION})
    return s3


def test_a_page_is_uploaded_once_the_index_last_and_the_version_before_stays(s3: Any) -> None:
    bucket, told = PageBucket(s3, bucket="page", owner=OWNER), Told()
    first = version_of(page_files(), SIGN_IN)
    lacking = bucket.lacks(first)
    assert [*lacking] == [*first.fixed, first.index]
    bucket.put(lacking, say=told)
    assert told.lines == [f"uploaded {len(lacking)} of the page's files to bucket page"]
    assert bucket.lacks(first) == []

    stored = s3.get_object(Bucket="page", Key=f"{first.name}/main.js")
    assert stored["ContentType"] == "text/javascript; charset=utf-8"
    assert stored["CacheControl"] == "public, max-age=31536000, immutable"
    assert s3.get_object(Bucket="page", Key="index.html")["CacheControl"] == "no-cache"

    files = page_files()
    second = version_of({**files, "main.js": files["main.js"] + b"\n"}, SIGN_IN)
    bucket.put(bucket.lacks(second), say=told)
    # Back to the version before: one file.
    assert [each.key for each in bucket.lacks(first)] == ["index.html"]


def test_an_upload_that_was_interrupted_shows_the_version_before_and_is_gone_on_with(s3: Any) -> None:
    bucket = PageBucket(s3, bucket="page", owner=OWNER)
    version = version_of(page_files(), SIGN_IN)
    lacking = bucket.lacks(version)
    bucket.put(lacking[:3], say=Told())
    assert [*bucket.lacks(version)] == [*lacking[3:]]
    bucket.put(bucket.lacks(version), say=Told())
    s3.delete_object(Bucket="page", Key=version.fixed[0].key)
    assert [each.key for each in bucket.lacks(version)] == [version.fixed[0].key]


def test_a_bucket_that_is_gone_is_told(s3: Any) -> None:
    with pytest.raises(ConfigError, match="page in bucket gone: NoSuchBucket"):
        PageBucket(s3, bucket="gone", owner=OWNER).lacks(version_of(page_files(), SIGN_IN))


def test_a_protected_user_pool_is_deleted_by_name_only(moto: ClientFactory) -> None:
    pool = "eu-central-1_abc"
    users = StackResource("Users", pool, "AWS::Cognito::UserPool", "CREATE_COMPLETE", "Retain")
    asked, active = {"UserPoolId": pool}, {"UserPool": {"DeletionProtection": "ACTIVE"}}
    with Stubber(boto3.client("cognito-idp", region_name=REGION)) as stubber:
        stubber.add_response("describe_user_pool", active, asked)
        unprotected = {
            **asked,
            "DeletionProtection": "INACTIVE",
            "AutoVerifiedAttributes": ANY,
            "AdminCreateUserConfig": ANY,
        }
        stubber.add_response("update_user_pool", {}, unprotected)
        stubber.add_response("describe_user_pool", {"UserPool": {"DeletionProtection": "INACTIVE"}}, asked)
        stubber.add_response("delete_user_pool", {}, asked)
        stubber.add_client_error("describe_user_pool", "ResourceNotFoundException")
        stores = BotoDataStores(lambda _: stubber.client)
        stores.release(users)
        assert stores.delete(users)
        assert not stores.delete(users)
        stubber.assert_no_pending_responses()


# --- deploy and diff ---

OUTPUTS = {
    "PageUrl": "https://d1.cloudfront.net/",
    "PageBucketName": "page",
    "PageClientId": "client",
    "SignInUrl": SIGN_IN.url,
    "UserPoolId": "eu-central-1_abc",
}


class FakeDeployment:
    """Plans *plan*; executing it gives the stack its *outputs*."""

    def __init__(self, plan: Plan) -> None:
        self.planned, self.executed = plan, 0

    @contextmanager
    def plan(self, wanted: Wanted, *, clear_failed: bool = False) -> Iterator[Plan]:
        assert (wanted.stack, clear_failed) in (("plant", True), ("plant", False))
        yield self.planned

    def execute(self, plan: Plan, *, allow_replacement: bool) -> Outcome:
        assert (plan, allow_replacement) == (self.planned, False)
        self.executed += 1
        return Outcome("UPDATE_COMPLETE", "", ())


class Person:
    def __init__(self) -> None:
        self.say = Told()

    def confirms(self, question: str) -> bool:
        raise AssertionError(question)


@dataclass
class World:
    """The commands beside a deployment that is played, moto's S3, and a stack of whose outputs a test decides."""

    moto: ClientFactory
    monkeypatch: pytest.MonkeyPatch
    outputs: dict[str, str] = field(default_factory=lambda: dict(OUTPUTS))
    parameters: dict[str, str] = field(default_factory=lambda: {"Page": "true"})
    empty: bool = True
    person: Person = field(default_factory=Person)
    executed: int = 0

    def run(self, verb: ModuleType, *more: str) -> tuple[int, list[str]]:
        plan = Plan("plant", "id", "cs", "UPDATE", (), (), self.empty, None)
        deployment = FakeDeployment(plan)
        wanted = Wanted("plant", "cs", self.parameters, body="{}")
        self.monkeypatch.setattr(verb, "prepare", lambda *_: (deployment, wanted))
        self.monkeypatch.setattr(PageUpload, "_outputs", lambda _: self.outputs)
        parser = argparse.ArgumentParser()
        around = Surroundings(lambda service, _: self.moto(service), _never, FakeClock(), self.person)
        verb.add_parser(parser.add_subparsers(required=True), surroundings=around)
        self.person.say.lines.clear()
        arguments = parser.parse_args([*more, "--stack", "plant", "--region", REGION])
        code: int = arguments.run(arguments)
        self.executed += deployment.executed
        return code, self.person.say.lines


def _never(*asked: object) -> Path:
    raise AssertionError(asked)


@pytest.fixture
def world(s3: Any, moto: ClientFactory, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(moto, monkeypatch)


def test_deploy_uploads_a_changed_page_to_a_stack_that_does_not_change_and_ends_with_its_address(
    world: World,
) -> None:
    assert world.run(diff, "diff", "--exit-code")[0] == 3
    code, told = world.run(deploy, "deploy", "--yes")
    assert (code, world.executed) == (0, 0)
    assert any("page: would change to version" in each for each in told)
    assert told[-1] == "page: https://d1.cloudfront.net/"
    # Again: nothing differs, and nothing is written.
    assert world.run(diff, "diff", "--exit-code") == (0, ["stack plant: no changes"])
    assert world.run(deploy, "deploy", "--yes") == (0, ["stack plant: no changes"])


def test_a_new_stacks_page_is_uploaded_when_it_stands_and_knows_whose_tokens_are_sent(world: World) -> None:
    world.empty, world.parameters["JwtKeysClaim"] = False, "custom:keys"
    outputs, world.outputs = world.outputs, {}
    assert "page: would be uploaded" in world.run(diff, "diff")[1]
    with pytest.raises(ConfigError, match="has no output PageUrl, PageBucketName"):
        world.run(deploy, "deploy", "--yes")
    world.outputs = outputs
    _, told = world.run(deploy, "deploy", "--yes")
    assert world.executed == 1
    assert told[-1].startswith("page: https://")
    stored = world.moto("s3").list_objects_v2(Bucket="page")["Contents"]
    (key,) = [each["Key"] for each in stored if each["Key"].endswith("/config.json")]
    config = json.loads(world.moto("s3").get_object(Bucket="page", Key=key)["Body"].read())["sign_in"]
    assert config == {
        "url": SIGN_IN.url,
        "issuer": f"https://cognito-idp.{REGION}.amazonaws.com/eu-central-1_abc",
        "client_id": "client",
        "token": "id_token",
    }


def test_a_stack_without_a_page_is_not_asked_for_one(world: World) -> None:
    world.parameters["Page"], world.outputs = "false", {}
    assert world.run(deploy, "deploy", "--yes") == (0, ["stack plant: no changes"])
    assert "Contents" not in world.moto("s3").list_objects_v2(Bucket="page")
