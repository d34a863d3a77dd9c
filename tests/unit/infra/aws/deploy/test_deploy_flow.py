"""Deploying, over a small CloudFormation: what is asked of it, in which order, and what the person is told."""

from typing import Any

import pytest

from infra.aws.deploy.deployment import Deployment, Wanted
from infra.aws.deploy.follow import FOLLOW_S, Outcome
from infra.aws.deploy.ports import ChangeSet, DeployError, StackState
from streamgage.errors import ConfigError, RetryableError
from support.deploy_fakes import FakeClock, FakeCloudFormation, Step, Told, change

CREATED = [
    Step("plant", "CREATE_IN_PROGRESS"),
    Step("Stream", "CREATE_IN_PROGRESS", type="AWS::Kinesis::Stream"),
    Step("Stream", "CREATE_IN_PROGRESS", "Resource creation Initiated", type="AWS::Kinesis::Stream"),
    Step("Stream", "CREATE_COMPLETE", ms=9_000, type="AWS::Kinesis::Stream"),
    Step("plant", "CREATE_COMPLETE"),
]
ROLLED_BACK = [
    Step("plant", "UPDATE_IN_PROGRESS"),
    Step("A", "UPDATE_IN_PROGRESS"),
    Step("B", "UPDATE_IN_PROGRESS"),
    Step("C", "UPDATE_IN_PROGRESS"),
    Step("B", "UPDATE_FAILED", "Resource update cancelled"),
    Step("A", "UPDATE_FAILED", "Quota exceeded: limit exceeded"),
    Step("plant", "UPDATE_ROLLBACK_IN_PROGRESS", "The following resource(s) failed to update: [A]"),
    Step("A", "UPDATE_COMPLETE", ms=4_000),
    Step("C", "UPDATE_IN_PROGRESS"),
    Step("C", "UPDATE_COMPLETE", ms=2_000),
    Step("plant", "UPDATE_ROLLBACK_COMPLETE"),
]


def standing(status: str = "CREATE_COMPLETE") -> StackState:
    return StackState("plant", "arn:plant", status, parameters={"ShardCount": "2"})


def makes(*changes: Any, status: str = "CREATE_COMPLETE", reason: str = "") -> Any:
    return lambda id_: ChangeSet(id_, "arn:plant", status, reason, changes)


class Bench:
    def __init__(self, **cloud: Any) -> None:
        self.cloud, self.clock, self.told = FakeCloudFormation(**cloud), FakeClock(), Told()
        self.deployment = Deployment(
            change_sets=self.cloud.change_sets,
            stacks=self.cloud,
            work=self.cloud,
            clock=self.clock,
            say=self.told,
        )
        self.empty: bool | None = None

    def run(self, *, execute: bool = True, allow: bool = False, clear: bool = False) -> Outcome | None:
        wanted = Wanted("plant", "name", {"ShardCount": "4"}, body="{}")
        with self.deployment.plan(wanted, clear_failed=clear) as plan:
            self.empty = plan.empty
            for line in plan.lines():
                self.told(line.text)
            if not execute or plan.empty:
                return None
            return self.deployment.execute(plan, allow_replacement=allow)


def test_a_new_stack_is_created_and_each_resource_told_once_with_its_time() -> None:
    bench = Bench(made=makes(change("Stream", "Add", "AWS::Kinesis::Stream")), scripts=[CREATED])
    outcome = bench.run()
    assert outcome is not None
    assert outcome.succeeded
    assert bench.cloud.log == ["create CREATE", "execute cs1"]
    assert [each for each in bench.told.lines if "Stream" in each] == [
        "+ Stream  AWS::Kinesis::Stream",
        "created   Stream  AWS::Kinesis::Stream  10 s",
    ]


def test_an_existing_stack_is_updated_and_its_old_events_are_not_told_again() -> None:
    bench = Bench(stack=standing(), made=makes(change("A")))
    bench.cloud.scripts = [
        [Step("A", "UPDATE_IN_PROGRESS"), Step("A", "UPDATE_COMPLETE"), Step("plant", "UPDATE_COMPLETE")]
    ]
    for step in (Step("Old", "CREATE_FAILED", "long ago"), Step("plant", "CREATE_COMPLETE")):
        bench.cloud.play(step)
    bench.cloud.stack = standing()
    bench.run()
    assert bench.cloud.requests[0].kind == "UPDATE"
    assert "ShardCount  2 → 4" in bench.told.text
    assert "updated   A" in bench.told.text
    assert "Old" not in bench.told.text


@pytest.mark.parametrize(
    "reason",
    [
        "The submitted information didn't contain changes. Submit different information to create a change set.",
        "No updates are to be performed.",
    ],
)
def test_no_changes_is_a_success_and_leaves_no_change_set(reason: str) -> None:
    bench = Bench(stack=standing(), made=makes(status="FAILED", reason=reason))
    bench.run()
    assert bench.empty
    assert bench.cloud.log == ["create UPDATE", "discard cs1"]
    assert bench.told.lines[-1] == "stack plant: no changes"


def test_a_change_of_outputs_alone_is_executed_though_it_lists_no_resource() -> None:
    bench = Bench(stack=standing(), made=makes(), scripts=[[Step("plant", "UPDATE_COMPLETE")]])
    assert bench.run() is not None
    assert "execute cs1" in bench.cloud.log


def test_a_change_set_that_fails_says_why_and_leaves_no_empty_stack() -> None:
    bench = Bench(made=makes(status="FAILED", reason="Transform failed: no such property"))
    with pytest.raises(ConfigError, match="Transform failed: no such property"):
        bench.run()
    assert bench.cloud.log == ["create CREATE", "discard cs1", "delete arn:plant"]
    assert bench.cloud.stack is None


def test_a_diff_leaves_neither_change_set_nor_stack() -> None:
    bench = Bench(made=makes(change("A", "Add")))
    bench.run(execute=False)
    assert bench.cloud.log == ["create CREATE", "discard cs1", "delete arn:plant"]
    updated = Bench(stack=standing(), made=makes(change("A")))
    updated.run(execute=False)
    assert updated.cloud.log == ["create UPDATE", "discard cs1"]


def test_a_stack_under_review_by_someone_else_stays() -> None:
    bench = Bench(stack=standing("REVIEW_IN_PROGRESS"), made=makes(change("A", "Add")))
    bench.run(execute=False)
    assert bench.cloud.log == ["create CREATE", "discard cs1"]


@pytest.mark.parametrize(
    "lost",
    [
        change("Stream", kind="AWS::Kinesis::Stream", Replacement="True", PolicyAction="ReplaceAndRetain"),
        change("Table", kind="AWS::DynamoDB::Table", Replacement="Conditional"),
        change("Bucket", "Remove", "AWS::S3::Bucket", PolicyAction="Delete"),
    ],
)
def test_what_would_cost_data_is_refused_unless_it_is_meant(lost: dict[str, Any]) -> None:
    bench = Bench(stack=standing(), made=makes(lost, change("A")))
    with pytest.raises(ConfigError, match="--allow-replacement"):
        bench.run()
    assert bench.cloud.log == ["create UPDATE", "discard cs1"]
    meant = Bench(stack=standing(), made=makes(lost), scripts=[[Step("plant", "UPDATE_COMPLETE")]])
    assert meant.run(allow=True) is not None


def test_a_function_may_be_replaced_without_being_asked() -> None:
    version = change("Version", kind="AWS::Lambda::Version", Replacement="True")
    bench = Bench(stack=standing(), made=makes(version), scripts=[[Step("plant", "UPDATE_COMPLETE")]])
    assert bench.run() is not None


def test_a_failed_update_names_the_first_failure_that_was_not_cancelled_and_what_to_do() -> None:
    bench = Bench(stack=standing(), made=makes(change("A")), scripts=[ROLLED_BACK])
    with pytest.raises(DeployError) as told:
        bench.run()
    message = str(told.value)
    assert "UPDATE_ROLLBACK_COMPLETE: the update is undone" in message
    assert "cause: A (AWS::SQS::Queue) UPDATE_FAILED: Quota exceeded" in message
    assert "fell with it, or after it: B" in message
    assert "do: a quota" in message
    assert any(each.startswith("rolling back:") for each in bench.told.lines)
    assert (
        "updated   C  AWS::SQS::Queue  2 s" in bench.told.lines
    )  # undone: not counted from before the roll-back


def test_a_failure_of_the_stack_alone_gives_its_own_reason() -> None:
    script = [Step("plant", "UPDATE_ROLLBACK_COMPLETE", "Rollback triggers: alarm is in alarm state")]
    bench = Bench(stack=standing(), made=makes(change("A")), scripts=[script])
    with pytest.raises(DeployError, match=r"(?s)cause: Rollback triggers.*do: an alarm stopped"):
        bench.run()


def test_a_creation_that_failed_before_is_cleared_only_when_told_to() -> None:
    bench = Bench(stack=standing("ROLLBACK_COMPLETE"), made=makes(change("A", "Add")))
    bench.cloud.play(Step("Table", "DELETE_SKIPPED", type="AWS::DynamoDB::Table"))
    with pytest.raises(
        ConfigError, match=r"--yes.*leaves behind, empty: Table \(physical-Table\).*--delete-data plant"
    ):
        bench.run()
    assert bench.cloud.log == []
    bench.cloud.scripts = [[Step("plant", "DELETE_IN_PROGRESS"), Step("plant", "DELETE_COMPLETE")], CREATED]
    bench.run(clear=True)
    assert bench.cloud.log == ["delete arn:plant", "create CREATE", "execute cs1"]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("UPDATE_IN_PROGRESS", "someone is at work"),
        ("UPDATE_ROLLBACK_IN_PROGRESS", "describe-stack-events"),
        ("UPDATE_ROLLBACK_FAILED", "continue-update-rollback --stack-name plant"),
        ("ROLLBACK_FAILED", "streamgage destroy --stack plant"),
        ("DELETE_FAILED", "streamgage destroy --stack plant"),
        ("CREATE_FAILED", "streamgage destroy --stack plant"),
    ],
)
def test_in_a_state_that_takes_no_change_nothing_is_asked_and_the_way_out_is_named(
    status: str, words: str
) -> None:
    bench = Bench(stack=standing(status))
    with pytest.raises(ConfigError, match=words):
        bench.run()
    assert bench.cloud.log == []


@pytest.mark.parametrize("status", ["UPDATE_ROLLBACK_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"])
def test_a_stack_that_is_at_rest_takes_a_change(status: str) -> None:
    bench = Bench(
        stack=standing(status), made=makes(change("A")), scripts=[[Step("plant", "UPDATE_COMPLETE")]]
    )
    assert bench.run() is not None


def test_a_change_set_that_does_not_come_is_given_up_and_deleted() -> None:
    bench = Bench(stack=standing(), pending_reads=10_000)
    with pytest.raises(RetryableError, match="no change set within 300 s"):
        bench.run()
    assert bench.cloud.log == ["create UPDATE", "discard cs1"]
    assert 300_000 <= bench.clock.time_ms < 310_000


def test_following_is_bounded_and_says_now_and_then_what_is_in_work() -> None:
    bench = Bench(stack=standing(), made=makes(change("A")), scripts=[[Step("A", "UPDATE_IN_PROGRESS")]])
    with pytest.raises(RetryableError, match=r"not done within 3600 s\. CloudFormation goes on by itself"):
        bench.run()
    beats = [each for each in bench.told.lines if "in work: A" in each]
    assert FOLLOW_S // 31 - 20 < len(beats) <= FOLLOW_S // 30
    assert "discard cs1" not in bench.cloud.log


def test_an_interrupt_while_it_is_executed_leaves_the_change_set_to_cloudformation() -> None:
    bench = Bench(made=makes(change("A", "Add")), scripts=[CREATED], interrupt=True)
    with pytest.raises(KeyboardInterrupt):
        bench.run()
    assert bench.cloud.log == ["create CREATE", "execute cs1"]


def test_an_interrupt_before_it_is_executed_leaves_nothing() -> None:
    bench = Bench(made=makes(change("A", "Add")))

    def interrupted() -> None:
        with bench.deployment.plan(Wanted("plant", "name", {}, body="{}")):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert bench.cloud.log == ["create CREATE", "discard cs1", "delete arn:plant"]
