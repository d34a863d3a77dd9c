"""Delete streams, tables, buckets, queues and user pools with their data, by boto3. Each call may be repeated: gone is done."""

from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError, WaiterError

from infra.aws.deploy.changes import DATA_TYPES
from infra.aws.deploy.ports import StackResource
from infra.aws.stacks import aws_errors
from streamgage.errors import RetryableError

_DELETE_OBJECTS = 1000  # keys of one DeleteObjects
# Bounds of a wait: 60 asks, 5 s between them.
_WAIT = {"Delay": 5, "MaxAttempts": 60}
_GONE = {
    "404",
    "AWS.SimpleQueueService.NonExistentQueue",
    "NoSuchBucket",
    "QueueDoesNotExist",
    "ResourceNotFoundException",
}


class BotoDataStores:
    """The data stores of one account and region. *client* makes a boto3 client of a service."""

    def __init__(self, client: Callable[[str], Any]) -> None:
        self._client = client
        self._releases: Mapping[str, Callable[[str], None]] = {
            "table": self._unprotect,
            "bucket": self._empty,
            "stream": lambda _: None,
            "queue": lambda _: None,
            "pool": self._unprotect_pool,
        }
        self._deletions: Mapping[str, Callable[[str], None]] = {
            "table": self._delete_table,
            "bucket": self._delete_bucket,
            "stream": self._delete_stream,
            "queue": self._delete_queue,
            "pool": self._delete_pool,
        }

    def release(self, resource: StackResource) -> None:
        """Take the protection off a table, or empty a bucket; see DataStores."""
        self._do(self._releases, resource)

    def delete(self, resource: StackResource) -> bool:
        """Delete it with its data; see DataStores."""
        return self._do(self._deletions, resource)

    def _do(self, actions: Mapping[str, Callable[[str], None]], resource: StackResource) -> bool:
        what = f"{DATA_TYPES[resource.type]} {resource.physical_id}"
        with aws_errors(what):
            try:
                actions[DATA_TYPES[resource.type]](resource.physical_id)
            except WaiterError as error:
                raise RetryableError(f"{what}: not done within five minutes; destroy it again") from error
            except ClientError as error:
                if error.response["Error"]["Code"] not in _GONE:
                    raise
                return False
        return True

    def _unprotect(self, table: str) -> None:
        dynamodb = self._client("dynamodb")
        described = dynamodb.describe_table(TableName=table)["Table"]
        if described.get("DeletionProtectionEnabled"):
            dynamodb.update_table(TableName=table, DeletionProtectionEnabled=False)
            dynamodb.get_waiter("table_exists").wait(TableName=table, WaiterConfig=_WAIT)

    def _delete_table(self, table: str) -> None:
        self._unprotect(table)
        dynamodb = self._client("dynamodb")
        dynamodb.delete_table(TableName=table)
        dynamodb.get_waiter("table_not_exists").wait(TableName=table, WaiterConfig=_WAIT)

    def _delete_stream(self, stream: str) -> None:
        kinesis = self._client("kinesis")
        kinesis.delete_stream(StreamName=stream, EnforceConsumerDeletion=True)
        kinesis.get_waiter("stream_not_exists").wait(StreamName=stream, WaiterConfig=_WAIT)

    def _delete_queue(self, url: str) -> None:
        self._client("sqs").delete_queue(QueueUrl=url)

    def _unprotect_pool(self, pool: str) -> None:
        """Take the protection off a user pool; UpdateUserPool sets what it is not told to its default, and nobody is left."""
        cognito = self._client("cognito-idp")
        described = cognito.describe_user_pool(UserPoolId=pool)["UserPool"]
        if described.get("DeletionProtection") == "ACTIVE":
            cognito.update_user_pool(
                UserPoolId=pool,
                DeletionProtection="INACTIVE",
                AutoVerifiedAttributes=described.get("AutoVerifiedAttributes", []),
                AdminCreateUserConfig={"AllowAdminCreateUserOnly": True},  # until it is gone, too
            )

    def _delete_pool(self, pool: str) -> None:
        self._unprotect_pool(pool)
        self._client("cognito-idp").delete_user_pool(UserPoolId=pool)

    def _empty(self, bucket: str) -> None:
        s3 = self._client("s3")
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            versions = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
            keys = [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in versions]
            for start in range(0, len(keys), _DELETE_OBJECTS):
                answer = s3.delete_objects(
                    Bucket=bucket, Delete={"Objects": keys[start : start + _DELETE_OBJECTS], "Quiet": True}
                )
                if answer.get("Errors"):
                    first = answer["Errors"][0]
                    raise RetryableError(
                        f"bucket {bucket}: {len(answer['Errors'])} objects could not be deleted, such as "
                        f"{first.get('Key')}: {first.get('Code')}: {first.get('Message')}"
                    )
        for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
            for each in page.get("Uploads", ()):
                s3.abort_multipart_upload(Bucket=bucket, Key=each["Key"], UploadId=each["UploadId"])

    def _delete_bucket(self, bucket: str) -> None:
        self._empty(bucket)
        self._client("s3").delete_bucket(Bucket=bucket)
