"""Destroying: no data goes without its stack's name typed again."""

from dataclasses import dataclass, field

import pytest

from infra.aws.deploy.deployment import Deployment
from infra.aws.deploy.destroy import check, destroy, survey
from infra.aws.deploy.ports import DeployError, StackResource, StackState
from streamgage.errors import ConfigError
from support.deploy_fakes import FakeClock, FakeCloudFormation, Step, Told

DELETED = [
    Step("plant", "DELETE_IN_PROGRESS"),
    Step("Table", "DELETE_SKIPPED", type="AWS::DynamoDB::Table"),
    Step("plant", "DELETE_COMPLETE"),
]


def resource(
    logical_id: str, kind: str, *, policy: str = "Retain", status: str = "CREATE_COMPLETE"
) -> StackResource:
    return StackResource(logical_id, f"physical-{logical_id}", kind, status, policy)


STACK = [
    resource("Table", "AWS::DynamoDB::Table"),
    resource("Stream", "AWS::Kinesis::Stream", policy="RetainExceptOnCreate"),
    resource("Bucket", "AWS::S3::Bucket"),
    resource("Queue", "AWS::SQS::Queue"),
    resource("Role", "AWS::IAM::Role", policy="Delete"),
]


@dataclass
class FakeStores:
    log: list[str] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)

    def release(self, resource: StackResource) -> None:
        self.log.append(f"release {resource.logical_id}")

    def delete(self, resource: StackResource) -> bool:
        if resource.logical_id in self.refused:
            raise ConfigError("not allowed")
        self.log.append(f"delete {resource.logical_id}")
        return resource.logical_id not in self.gone


@dataclass
class Bench:
    cloud: FakeCloudFormation
    stores: FakeStores = field(default_factory=FakeStores)
    told: Told = field(default_factory=Told)
    deleted: str | None = None

    def newest_deleted(self, name: str) -> str | None:
        assert name == "plant"
        return self.deleted

    def run(self, delete_data: str | None = None) -> None:
        remains = survey(self.cloud, self, "plant")
        check(remains, delete_data=delete_data)
        deployment = Deployment(
            change_sets=self.cloud.change_sets,
            stacks=self.cloud,
            work=self.cloud,
            clock=FakeClock(),
            say=self.told,
        )
        destroy(
            remains,
            delete_data=delete_data is not None,
            deployment=deployment,
            stores=self.stores,
            say=self.told,
        )


def bench(
    *, left: list[StackResource] | None = None, status: str = "UPDATE_COMPLETE", protected: bool = False
) -> Bench:
    return Bench(
        FakeCloudFormation(
            stack=StackState("plant", "arn:plant", status, protected=protected),
            left=STACK if left is None else left,
            scripts=[DELETED],
        )
    )


def test_without_the_flag_the_stack_goes_and_the_data_that_stays_is_listed() -> None:
    destroyed = bench()
    destroyed.run()
    assert destroyed.cloud.stack is None
    assert destroyed.stores.log == []
    stays = [each.split()[2] for each in destroyed.told.lines if each.startswith("stays")]
    assert stays == ["Queue", "Bucket", "Stream", "Table"]


@pytest.mark.parametrize("typed", ["", "PLANT", "streamgage", "yes"])
def test_another_name_deletes_nothing(typed: str) -> None:
    refused = bench()
    with pytest.raises(ConfigError, match="not the name of stack plant"):
        refused.run(typed)
    assert refused.cloud.log == []
    assert refused.stores.log == []


def test_with_the_name_the_data_goes_after_the_stack_and_protection_is_not_touched_before() -> None:
    destroyed = bench()
    destroyed.run("plant")
    assert destroyed.cloud.log == ["delete arn:plant"]
    assert destroyed.stores.log == ["delete Queue", "delete Bucket", "delete Stream", "delete Table"]
    assert destroyed.told.lines.index("kept      Table  AWS::DynamoDB::Table  physical-Table") < next(
        n for n, line in enumerate(destroyed.told.lines) if line.startswith("deleted   queue")
    )


def test_what_passes_by_its_template_is_no_data_and_goes_with_the_stack() -> None:
    passing = StackResource("Passing", "p", "AWS::DynamoDB::Table", "CREATE_COMPLETE", "Delete", passing=True)
    destroyed = bench(left=[resource("Queue", "AWS::SQS::Queue"), passing])
    destroyed.run()
    assert destroyed.cloud.log == ["delete arn:plant"]
    assert not [each for each in destroyed.told.lines if "Passing" in each and each.startswith("stays")]


def test_data_that_would_go_with_the_stack_is_refused_without_the_flag_and_released_with_it() -> None:
    left = [resource("Table", "AWS::DynamoDB::Table", policy="Delete"), resource("Queue", "AWS::SQS::Queue")]
    refused = bench(left=left)
    with pytest.raises(ConfigError, match=r"data would go with stack plant: Table \(table physical-Table\)"):
        refused.run()
    assert refused.cloud.log == []
    meant = bench(left=left)
    meant.run("plant")
    assert meant.stores.log == ["release Table", "delete Queue", "delete Table"]


def test_what_is_gone_is_done() -> None:
    again = bench()
    again.stores.gone = {"Stream"}
    again.run("plant")
    assert any(each.startswith("was gone  stream") for each in again.told.lines)
    assert again.stores.log[-1] == "delete Table"


def test_one_that_cannot_be_deleted_does_not_keep_the_rest() -> None:
    destroyed = bench()
    destroyed.stores.refused = {"Bucket"}
    with pytest.raises(DeployError, match=r"(?s)the rest is.*Bucket \(physical-Bucket\): not allowed"):
        destroyed.run("plant")
    assert destroyed.stores.log == ["delete Queue", "delete Stream", "delete Table"]


def test_data_of_a_stack_that_is_gone_is_found_again_by_its_name() -> None:
    gone = Bench(FakeCloudFormation(), deleted="arn:plant")
    for step in DELETED:
        gone.cloud.play(step)
    with pytest.raises(ConfigError, match=r"deleted already; its data stayed: Table.*--delete-data plant"):
        gone.run()
    gone.run("plant")
    assert gone.stores.log == ["delete Table"]
    assert gone.cloud.log == []


def test_what_a_failed_creation_left_behind_is_found() -> None:
    rolled_back = bench(status="ROLLBACK_COMPLETE", left=[])
    rolled_back.cloud.play(Step("Stream", "DELETE_SKIPPED", type="AWS::Kinesis::Stream"))
    rolled_back.run("plant")
    assert rolled_back.stores.log == ["delete Stream"]


def test_a_stack_that_never_was_is_told() -> None:
    with pytest.raises(ConfigError, match="there is no stack plant"):
        Bench(FakeCloudFormation()).run()


def test_a_stack_with_termination_protection_or_at_work_is_left_alone() -> None:
    with pytest.raises(ConfigError, match="--no-enable-termination-protection --stack-name plant"):
        bench(protected=True).run("plant")
    with pytest.raises(ConfigError, match="wait until it is done"):
        bench(status="UPDATE_IN_PROGRESS").run("plant")


def test_a_deletion_that_fails_deletes_no_data_and_names_the_cause() -> None:
    stuck = bench()
    stuck.cloud.scripts = [
        [Step("Role", "DELETE_FAILED", "Cannot delete entity"), Step("plant", "DELETE_FAILED")]
    ]
    with pytest.raises(DeployError, match=r"(?s)DELETE_FAILED.*cause: Role .*Cannot delete entity"):
        stuck.run("plant")
    assert stuck.stores.log == []
