"""How policies are read, and what the audit of a role says."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamgage.errors import ConfigError
from support.policies.audit import missing, too_wide, unused
from support.policies.calls import calls_of
from support.policies.statement import Call, Statement, allows, matches, statements_of

TABLE = "arn:aws:dynamodb:us-east-1:000000000000:table/t"
PUT = Call("dynamodb:PutItem", TABLE)
ALLOW_PUT = Statement("Put", allows=True, actions=("dynamodb:PutItem",), resources=(TABLE,))


def read(*statements: dict[str, object]) -> list[Statement]:
    return list(statements_of([{"Statement": list(statements)}]))


def test_a_statement_allows_its_actions_on_its_resources_and_nothing_else() -> None:
    assert allows([ALLOW_PUT], PUT)
    assert allows([ALLOW_PUT], Call("DynamoDB:putitem", TABLE))
    assert not allows([ALLOW_PUT], Call("dynamodb:PutItem", TABLE.upper()))
    assert not allows([ALLOW_PUT], Call("dynamodb:PutItem", f"{TABLE}/index/i"))
    assert not allows([ALLOW_PUT], Call("dynamodb:DeleteItem", TABLE))
    assert not allows([], PUT)


def test_a_deny_wins_over_every_allow() -> None:
    deny = Statement("No", allows=False, actions=("dynamodb:*",), resources=("*",))
    assert not allows([ALLOW_PUT, deny], PUT)
    assert not allows([deny, ALLOW_PUT], PUT)


@pytest.mark.parametrize(
    ("operator", "value", "asked", "holds"),
    [
        ("StringEquals", ["sqs.eu", "s3.eu"], "s3.eu", True),
        ("StringEquals", "s3.*", "s3.eu", False),
        ("StringLike", "s3.*", "s3.eu", True),
        ("ArnLike", "arn:aws:s3:::b*", "arn:aws:s3:::bucket", True),
        ("Bool", "false", "true", False),
        ("StringEquals", "s3.eu", None, False),
    ],
)
def test_a_condition_is_held_against_the_call(
    operator: str,
    value: object,
    asked: str | None,
    holds: bool,  # noqa: FBT001 - a table
) -> None:
    (statement,) = read(
        {
            "Effect": "Allow",
            "Action": "kms:Decrypt",
            "Resource": "k",
            "Condition": {operator: {"kms:ViaService": value}},
        }
    )
    context = {} if asked is None else {"kms:ViaService": asked}
    assert allows([statement], Call("kms:Decrypt", "k", context)) is holds


@pytest.mark.parametrize(
    "statement",
    [
        {"Effect": "Allow", "NotAction": "a:B", "Resource": "*"},
        {"Effect": "Allow", "Action": "a:B", "NotResource": "x"},
        {"Effect": "Allow", "Action": "a:B", "Resource": {"Ref": "Unknown"}},
        {"Effect": "Allow", "Action": "a:B", "Resource": "*", "Condition": {"NumericEquals": {"a": "1"}}},
    ],
)
def test_what_is_not_understood_does_not_pass_for_harmless(statement: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"understood|known"):
        read(statement)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from("ab:/*?[.(") | st.just("xyz"), max_size=12), st.text(max_size=5))
def test_a_pattern_matches_what_its_wildcards_stand_for_and_each_other_character_is_itself(
    parts: list[str], filling: str
) -> None:
    pattern = "".join(parts)
    text = "".join(filling if each == "*" else "q" if each == "?" else each for each in parts)
    assert matches(pattern, text)
    assert not matches(pattern.replace("*", ""), "q" + text + "q")


def test_an_action_is_missing_unused_or_excused_and_an_exception_has_to_be_needed() -> None:
    get = Call("dynamodb:BatchGetItem", TABLE)
    assert list(missing([ALLOW_PUT], [PUT, get])) == [
        f"dynamodb:BatchGetItem on {TABLE} is made, and not allowed"
    ]
    assert list(unused([ALLOW_PUT], [PUT], {})) == []
    assert list(unused([ALLOW_PUT], [get], {})) == [
        f"dynamodb:PutItem on {TABLE} is allowed (Put), and never made"
    ]
    assert list(unused([ALLOW_PUT], [get], {"dynamodb:PutItem": "reason"})) == []
    assert list(unused([ALLOW_PUT], [PUT], {"dynamodb:PutItem": "reason"})) == [
        "dynamodb:PutItem is an exception that is not needed"
    ]


@pytest.mark.parametrize(
    ("actions", "resource", "wide"),
    [
        (("s3:PutObject",), "arn:aws:s3:::b/*", False),
        (("s3:PutObject",), "arn:aws:s3:::b*", False),
        (("s3:PutObject",), "arn:aws:s3:::other/*", True),
        (("s3:PutObject",), "*", True),
        (("xray:PutTraceSegments",), "*", False),
        (("xray:PutTraceSegments", "s3:PutObject"), "*", True),
        (("s3:*",), "arn:aws:s3:::b", True),
    ],
)
def test_a_wildcard_is_for_what_is_inside_a_resource_of_the_template_only(
    actions: tuple[str, ...],
    resource: str,
    wide: bool,  # noqa: FBT001 - a table
) -> None:
    statement = Statement("S", allows=True, actions=actions, resources=(resource,))
    assert bool(list(too_wide([statement], ["arn:aws:s3:::b"], {}))) is wide


def test_a_wildcard_may_be_excused_for_its_actions_only() -> None:
    excused = {"cloudwatch:DescribeAlarms": "reason"}
    for actions, wide in ((tuple(excused), False), ((*excused, "cloudwatch:DeleteAlarms"), True)):
        statement = Statement("S", allows=True, actions=actions, resources=("*",))
        assert bool(list(too_wide([statement], [], excused))) is wide


def test_a_request_needs_an_action_for_each_thing_that_it_does() -> None:
    statements = [
        "INSERT INTO \"t\" VALUE {'pk':?}",
        'UPDATE "t" SET "fence"=? WHERE "pk"=?',
        'update "t" SET "fence"=? WHERE "pk"=?',
        'SELECT "pk" FROM "t" WHERE "pk"=?',
        'DELETE FROM "t" WHERE "pk"=?',
    ]
    request = {"Statements": [{"Statement": each} for each in statements]}
    found = calls_of("DynamoDB_20120810", "BatchExecuteStatement", request, stream="s")
    names = ("PartiQLInsert", "PartiQLUpdate", "PartiQLSelect", "PartiQLDelete")
    assert found == [Call(f"dynamodb:{each}", TABLE) for each in names]
    queue = {"QueueUrl": "http://127.0.0.1:4566/000000000000/q", "Entries": []}
    assert calls_of("AmazonSQS", "SendMessageBatch", queue, stream="s") == [
        Call("sqs:SendMessage", "arn:aws:sqs:us-east-1:000000000000:q")
    ]
    assert calls_of("Kinesis_20131202", "ListShards", {"NextToken": "n"}, stream="s") == [
        Call("kinesis:ListShards", "arn:aws:kinesis:us-east-1:000000000000:stream/s")
    ]
    for operation, unknown in (
        ("DeleteTable", {}),
        ("BatchExecuteStatement", {"Statements": [{"Statement": "DROP"}]}),
    ):
        with pytest.raises(ConfigError, match="known"):
            calls_of("DynamoDB_20120810", operation, unknown, stream="s")
