"""Which IAM actions, on which resources, an API call needs: of the calls that the functions make.

Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazondynamodb.html, list_amazonsqs.html,
list_amazonkinesisdatastreams.html, list_amazons3.html, list_awssystemsmanager.html; for statements
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-iam.html
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from infra.template.lint.resolve import PSEUDO
from streamgage.errors import ConfigError
from support.policies.statement import Call

_STATEMENT = re.compile(
    r'\s*(SELECT\b.*?\bFROM|INSERT\s+INTO|UPDATE|DELETE\s+FROM)\s+"([^"]+)"', re.IGNORECASE | re.DOTALL
)


def calls_of(target: str, operation: str, request: Mapping[str, Any], *, stream: str) -> list[Call]:
    """Return what *operation* of the service *target* (the prefix of X-Amz-Target) needs for *request*, each once.

    *stream* is the name of the stream of a request that goes on by a NextToken, and names none.

    Raises:
        ConfigError: the operation is not known here: look up what it needs, and add it.
    """
    known = _OPERATIONS.get((target, operation))
    if known is None:
        raise ConfigError(f"{target}.{operation}: which actions it needs is not known")
    return list(dict.fromkeys(known({"StreamName": stream, **request})))


def connection_call(api: str, stage: str, connection_id: str) -> Call:
    """Return what a message to a connection of the WebSocket API with the id *api* needs.

    Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-websocket-control-access-iam.html
    """
    return Call(
        "execute-api:ManageConnections",
        _arn("execute-api", f"{api}/{stage}/POST/@connections/{connection_id}"),
    )


def _arn(service: str, resource: str) -> str:
    region, account = PSEUDO["AWS::Region"], PSEUDO["AWS::AccountId"]
    return f"arn:{PSEUDO['AWS::Partition']}:{service}:{region}:{account}:{resource}"


def _table(action: str, name: str) -> Call:
    return Call(f"dynamodb:{action}", name if name.startswith("arn:") else _arn("dynamodb", f"table/{name}"))


def _batch_get(request: Mapping[str, Any]) -> Iterator[Call]:
    return (_table("BatchGetItem", name) for name in request["RequestItems"])


def _of_table(action: str) -> Callable[[Mapping[str, Any]], Iterator[Call]]:
    def calls(request: Mapping[str, Any]) -> Iterator[Call]:
        yield _table(action, request["TableName"])

    return calls


def _put_item(request: Mapping[str, Any]) -> Iterator[Call]:
    put = _table("PutItem", request["TableName"])
    item = request["Item"]
    yield replace(put, context={"dynamodb:LeadingKeys": (item.get("id") or item["pk"])["S"]})


def _statements(request: Mapping[str, Any]) -> Iterator[Call]:
    for each in request["Statements"]:
        found = _STATEMENT.match(each["Statement"])
        if found is None:
            raise ConfigError(f"{each['Statement']!r}: not a statement whose action is known")
        verb = found[1].split()[0].capitalize()
        yield _table(f"PartiQL{verb}", found[2])


def _depth(request: Mapping[str, Any]) -> Iterator[Call]:
    yield Call("sqs:GetQueueAttributes", _arn("sqs", request["QueueUrl"].rpartition("/")[2]))


def _send(request: Mapping[str, Any]) -> Iterator[Call]:
    # SendMessageBatch has no action of its own.
    yield Call("sqs:SendMessage", _arn("sqs", request["QueueUrl"].rpartition("/")[2]))


def _put_object(request: Mapping[str, Any]) -> Iterator[Call]:
    # The default encryption of a bucket needs no right but to its key, by S3.
    yield Call("s3:PutObject", f"arn:{PSEUDO['AWS::Partition']}:s3:::{request['Bucket']}/{request['Key']}")


def _of_stream(action: str) -> Callable[[Mapping[str, Any]], Iterator[Call]]:
    def calls(request: Mapping[str, Any]) -> Iterator[Call]:
        yield Call(
            f"kinesis:{action}",
            request.get("StreamARN") or _arn("kinesis", f"stream/{request['StreamName']}"),
        )

    return calls


def _parameter(request: Mapping[str, Any]) -> Iterator[Call]:
    yield Call("ssm:GetParameter", _arn("ssm", f"parameter{request['Name']}"))


_OPERATIONS: Mapping[tuple[str, str], Callable[[Mapping[str, Any]], Iterator[Call]]] = {
    ("DynamoDB_20120810", "BatchGetItem"): _batch_get,
    ("DynamoDB_20120810", "DeleteItem"): _of_table("DeleteItem"),
    ("DynamoDB_20120810", "GetItem"): _of_table("GetItem"),
    ("DynamoDB_20120810", "PutItem"): _put_item,
    ("DynamoDB_20120810", "Query"): _of_table("Query"),
    ("DynamoDB_20120810", "Scan"): _of_table("Scan"),
    ("DynamoDB_20120810", "BatchExecuteStatement"): _statements,
    ("AmazonSQS", "SendMessageBatch"): _send,
    ("AmazonSQS", "GetQueueAttributes"): _depth,
    ("Kinesis_20131202", "GetRecords"): _of_stream("GetRecords"),
    ("Kinesis_20131202", "GetShardIterator"): _of_stream("GetShardIterator"),
    ("Kinesis_20131202", "ListShards"): _of_stream("ListShards"),
    ("Kinesis_20131202", "PutRecords"): _of_stream("PutRecords"),
    ("AmazonSSM", "GetParameter"): _parameter,
    ("Kinesis_20131202", "DescribeStreamSummary"): _of_stream("DescribeStreamSummary"),
    ("S3", "PutObject"): _put_object,
}
