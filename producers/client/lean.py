"""Kinesis without boto3: our own signed JSON client, for devices on which a start takes too long, or memory is scarce.

Source: https://docs.aws.amazon.com/kinesis/latest/APIReference/Welcome.html (target Kinesis_20131202, JSON 1.1)
"""

import json
import os
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from processors.awsjson.client import AwsJsonClient, ServiceError
from processors.awsjson.connections import Timeouts, tls_context
from processors.awsjson.credentials import Credentials, credential_source
from processors.awsjson.endpoint import Endpoint, region_of, service_endpoint
from processors.awsjson.retry import RetryPolicy
from processors.awsjson.signing import Signer
from processors.deadline import Deadline
from producers.client.entry import PutEntry
from producers.client.forks import renew_in_children
from producers.client.ports import CredentialsRefused, PutResult
from producers.client.refusals import meaning_of
from producers.client.results import results_of
from streamgage.errors import RetryableError
from streamgage.shards import Shard, decode_shard

_TARGET = "Kinesis_20131202"
_TIMEOUTS = Timeouts(connect_s=5.0, read_s=20.0)  # as below boto3
_CALL_S = 30.0  # of a call in all
_ONCE = RetryPolicy(tries=1, budget_s=_CALL_S)  # what failed, and only that, is tried again above


class LeanKinesis:
    """One stream, through a client of our own; safe for several threads; a forked child has connections of its own.

    Credentials are those given, else of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, else of the endpoint in
    AWS_CONTAINER_CREDENTIALS_FULL_URI, which are renewed. For files and single sign-on there is boto3.
    """

    def __init__(
        self,
        stream_name: str,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        credentials: tuple[str, ...] | None = None,
        environment: Mapping[str, str] | None = None,
        left_s: Callable[[], float] | None = None,
    ) -> None:
        """Connect to nothing yet; *left_s* says, at each call, how long it may take at most.

        Raises: ConfigError, no region, no credentials, an endpoint that is none.
        """
        environment = os.environ if environment is None else environment
        self._stream_name, self._left_s = stream_name, left_s
        if region is not None:
            environment = {**environment, "AWS_REGION": region}
        self._environment = environment
        self._endpoint = (
            service_endpoint("kinesis", environment) if endpoint_url is None else Endpoint.parse(endpoint_url)
        )
        if credentials is None:
            self._credentials = credential_source(environment)
        else:
            fixed = Credentials(*credentials)
            self._credentials = lambda _: fixed
        self._tls = tls_context(environment) if self._endpoint.tls else None
        self._worked = False
        self._client = self._new_client()
        renew_in_children(self)

    def _new_client(self) -> AwsJsonClient:
        return AwsJsonClient(
            _TARGET,
            endpoint=self._endpoint,
            signer=Signer(service="kinesis", region=region_of(self._environment)),
            credentials=self._credentials,
            tls=self._tls,
            timeouts=_TIMEOUTS,
            policy=_ONCE,
            json_version="1.1",
        )

    def renew_in_child(self) -> None:
        """Have connections of its own, in a forked child. Closing a copy of a socket sends nothing: the parent's is open."""
        self._client.close()
        self._client = self._new_client()

    def list_shards(self) -> Sequence[Shard]:
        """Return every shard that the stream still lists, closed ones too."""
        shards: list[Shard] = []
        request = {"StreamName": self._stream_name}
        while True:
            answer = self._call("ListShards", request)
            shards += map(decode_shard, answer.get("Shards", ()))
            if not answer.get("NextToken"):
                return shards
            request = {"NextToken": answer["NextToken"]}  # the API takes no stream name beside it

    def describe(self) -> Mapping[str, Any]:
        """Return what DescribeStreamSummary answers."""
        answer: Mapping[str, Any] = self._call("DescribeStreamSummary", {"StreamName": self._stream_name})
        return answer

    def put_records(self, entries: Sequence[PutEntry]) -> Sequence[PutResult]:
        """Put *entries* in one request; see KinesisPort."""
        records = [_encode_entry(each) for each in entries]
        answer = self._call("PutRecords", {"StreamName": self._stream_name, "Records": records})
        return results_of(answer, len(entries), self._stream_name)

    def close(self) -> None:
        """Close the connections that nobody uses."""
        self._client.close()

    def _call(self, operation: str, request: Mapping[str, Any]) -> Any:
        what = f"{operation} on stream {self._stream_name}"
        client = self._client
        body = json.dumps(request, separators=(",", ":"))
        most_s = _CALL_S if self._left_s is None else min(_CALL_S, self._left_s())
        try:
            content = client.call(operation, body, client.retries(Deadline.after(most_s)))
        except ServiceError as error:
            raise self._meaning_of(what, error) from error
        except RetryableError as error:
            if isinstance(error.__cause__, ServiceError):
                raise self._meaning_of(what, error.__cause__) from error
            if "credentials endpoint" in str(error):
                raise CredentialsRefused(f"{what}: {error}") from error
            raise
        self._worked = True
        try:
            answer = json.loads(content)
        except ValueError as error:
            raise RetryableError(f"{what}: the answer is not JSON") from error
        if not isinstance(answer, dict):
            raise RetryableError(f"{what}: the answer is no JSON object")
        return answer

    def _meaning_of(self, what: str, error: ServiceError) -> Exception:
        return meaning_of(error.error, error.status, f"{what}: {error}", worked=self._worked)


def _encode_entry(entry: PutEntry) -> dict[str, str]:
    record = {"Data": b64encode(entry.data).decode("ascii"), "PartitionKey": entry.partition_key}
    if entry.explicit_hash_key is not None:
        record["ExplicitHashKey"] = str(entry.explicit_hash_key)
    return record
