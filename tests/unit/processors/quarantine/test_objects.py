"""Where a bucket is, at AWS and at an emulator."""

import pytest

from processors.awsjson.endpoint import Endpoint
from processors.quarantine.objects import BucketPlace
from streamgage.errors import ConfigError

HERE = "http://127.0.0.1:4566"
LOCAL = Endpoint("127.0.0.1", 4566, tls=False)


@pytest.mark.parametrize(
    ("bucket", "environment", "endpoint", "path"),
    [
        ("b-1", {"AWS_REGION": "eu-central-1"}, Endpoint("b-1.s3.eu-central-1.amazonaws.com", 443, tls=True), ""),
        ("b-1", {"AWS_REGION": "cn-north-1"}, Endpoint("b-1.s3.cn-north-1.amazonaws.com.cn", 443, tls=True), ""),
        ("b.1", {"AWS_REGION": "eu-central-1"}, Endpoint("s3.eu-central-1.amazonaws.com", 443, tls=True), "/b.1"),
        ("b-1", {"AWS_REGION": "eu-central-1", "AWS_ENDPOINT_URL": HERE}, LOCAL, "/b-1"),
        ("b-1", {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_S3": HERE}, LOCAL, "/b-1"),
    ],
)  # fmt: skip
def test_a_bucket_is_found_by_host_at_aws_and_by_path_elsewhere(
    bucket: str, environment: dict[str, str], endpoint: Endpoint, path: str
) -> None:
    assert BucketPlace.of(bucket, environment) == BucketPlace(endpoint, path)


def test_plain_http_to_another_machine_is_refused() -> None:
    with pytest.raises(ConfigError, match="only loopback"):
        BucketPlace.of("b", {"AWS_ENDPOINT_URL": "http://s3.example.com"})
