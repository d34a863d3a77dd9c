"""Rules on what holds data: that it is not deleted, shown or read wrongly."""

from collections.abc import Iterator

from infra.template.lint.resolve import Node
from infra.template.lint.rule import Problem, Rules
from infra.template.lint.subject import OUR_HANDLER, Subject, each_of, properties

RULES = Rules()
_DATA = ("AWS::Kinesis::Stream", "AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::SQS::Queue")
_KEPT = ("Retain", "RetainExceptOnCreate", "Snapshot")
_BLOCKS = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
_OPEN_POLICIES = ("AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy")


def _aggregate_tables(subject: Subject) -> Iterator[Node]:
    """Yield the properties of the tables that our function writes."""
    for function in subject.functions.values():
        if function.get("Handler") == OUR_HANDLER:
            for table in subject.tables_of(function):
                yield properties(table)


@RULES.add(
    "SG020",
    "error",
    what="a table of aggregates without TTL on `expires`",
    why="keep of pipeline.toml is written into that attribute: without TTL nothing is ever deleted, and is paid for ever",
    mend="add TimeToLiveSpecification: {AttributeName: expires, Enabled: true}",
)
def aggregates_expire(subject: Subject) -> Iterator[Problem]:
    """The attribute is the one that the sink writes."""
    for table in _aggregate_tables(subject):
        ttl = table.get("TimeToLiveSpecification", {})
        if ttl.get("AttributeName") != "expires" or str(ttl.get("Enabled")).lower() != "true":
            yield Problem.at(table, "items do not expire", "TimeToLiveSpecification")


@RULES.add(
    "SG021",
    "error",
    what="a table of aggregates whose key is not (pk, sk)",
    why="the function writes items with the texts pk and sk as their key: DynamoDB refuses every one",
    mend="set KeySchema to pk HASH and sk RANGE, both of type S",
)
def the_key_is_pk_and_sk(subject: Subject) -> Iterator[Problem]:
    """Both are texts."""
    for table in _aggregate_tables(subject):
        keys = {each.get("AttributeName"): each.get("KeyType") for each in table.get("KeySchema", ())}
        types = {
            each.get("AttributeName"): each.get("AttributeType")
            for each in table.get("AttributeDefinitions", ())
        }
        if keys != {"pk": "HASH", "sk": "RANGE"} or (types.get("pk"), types.get("sk")) != ("S", "S"):
            yield Problem.at(table, f"its key is {', '.join(map(str, keys)) or 'not named'}", "KeySchema")


@RULES.add(
    "SG022",
    "error",
    what="data that goes with the stack",
    why="deleting the stack, or a change that replaces the resource, deletes its data without a question",
    mend="set DeletionPolicy and UpdateReplacePolicy to Retain; `streamgage destroy --delete-data` deletes what is meant",
)
def data_outlives_the_stack(subject: Subject) -> Iterator[Problem]:
    """Both policies keep it."""
    for name, each in subject.of_type(*_DATA):
        for policy in ("DeletionPolicy", "UpdateReplacePolicy"):
            if each.get(policy) not in _KEPT:
                yield Problem.at(each, f"{name} has no {policy} that keeps it", policy)


@RULES.add(
    "SG023",
    "error",
    what="data that is not encrypted, or does not say so",
    why="a stream is not encrypted unless the template asks for it; queue and bucket should not lean on an account's default",
    mend="set StreamEncryption, SqsManagedSseEnabled or KmsMasterKeyId, BucketEncryption",
)
def data_is_encrypted(subject: Subject) -> Iterator[Problem]:
    """DynamoDB encrypts always."""
    for name, each in subject.of_type(*_DATA):
        node = properties(each)
        encrypted, key = {
            "AWS::Kinesis::Stream": (
                node.get("StreamEncryption", {}).get("EncryptionType") == "KMS",
                "StreamEncryption",
            ),
            "AWS::SQS::Queue": (
                "KmsMasterKeyId" in node or str(node.get("SqsManagedSseEnabled")).lower() == "true",
                "SqsManagedSseEnabled",
            ),
            "AWS::S3::Bucket": ("BucketEncryption" in node, "BucketEncryption"),
        }.get(each["Type"], (True, ""))
        if not encrypted:
            yield Problem.at(node, f"{name} is not encrypted", key)


@RULES.add(
    "SG024",
    "error",
    what="a bucket that may be made public",
    why="failed batches hold events as they were sent",
    mend="set all four of PublicAccessBlockConfiguration to true, and no public AccessControl",
)
def buckets_are_private(subject: Subject) -> Iterator[Problem]:
    """All four blocks, and no public ACL."""
    for name, each in subject.of_type("AWS::S3::Bucket"):
        node = properties(each)
        blocks = node.get("PublicAccessBlockConfiguration", {})
        missing = [block for block in _BLOCKS if str(blocks.get(block)).lower() != "true"]
        if missing:
            yield Problem.at(node, f"{name} lacks {', '.join(missing)}", "PublicAccessBlockConfiguration")
        if str(node.get("AccessControl", "")).startswith("Public"):
            yield Problem.at(node, f"{name} is {node['AccessControl']}", "AccessControl")


@RULES.add(
    "SG025",
    "error",
    what="a queue, topic or bucket that everyone may use",
    why="anyone with any AWS account may read, write or delete there",
    mend="name a Principal, or add a Condition on the account or the source's ARN",
)
def nothing_is_open_to_everyone(subject: Subject) -> Iterator[Problem]:
    """An Allow for everyone has a condition."""
    for name, each in subject.of_type(*_OPEN_POLICIES):
        for statement in each_of(properties(each).get("PolicyDocument", {}).get("Statement")):
            principal = statement.get("Principal")
            everyone = principal == "*" or (
                isinstance(principal, dict) and "*" in each_of(principal.get("AWS"))
            )
            if statement.get("Effect") == "Allow" and everyone and not statement.get("Condition"):
                yield Problem.at(statement, f"{name} allows everyone", "Principal")


@RULES.add(
    "SG026",
    "warning",
    what="a table of aggregates without point-in-time recovery",
    why="a mistake of a person or a program, such as a rebuild into the live generation, cannot be taken back",
    mend="set PointInTimeRecoverySpecification: {PointInTimeRecoveryEnabled: true}",
)
def mistakes_can_be_taken_back(subject: Subject) -> Iterator[Problem]:
    """The last 35 days are there."""
    for table in _aggregate_tables(subject):
        recovery = table.get("PointInTimeRecoverySpecification", {})
        if str(recovery.get("PointInTimeRecoveryEnabled")).lower() != "true":
            yield Problem.at(table, "it cannot be restored", "PointInTimeRecoverySpecification")
