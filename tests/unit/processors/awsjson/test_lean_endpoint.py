"""Where a service is, and what is refused as unsafe."""

import pytest

from processors.awsjson.endpoint import Endpoint, service_endpoint
from streamgage.errors import ConfigError


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"AWS_REGION": "eu-central-1"}, "dynamodb.eu-central-1.amazonaws.com"),
        ({"AWS_DEFAULT_REGION": "us-east-1"}, "dynamodb.us-east-1.amazonaws.com"),
        ({"AWS_REGION": "cn-north-1"}, "dynamodb.cn-north-1.amazonaws.com.cn"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:4566"}, "127.0.0.1:4566"),
        ({"AWS_ENDPOINT_URL": "http://[::1]:4566/"}, "[::1]:4566"),
        (
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_DYNAMODB": "http://localhost"},
            "localhost",
        ),
        (
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_SQS": "http://localhost"},
            "127.0.0.1:1",
        ),
        ({"AWS_ENDPOINT_URL_DYNAMODB": "https://vpce-1.dynamodb.eu-west-1.vpce.amazonaws.com:443"}, None),
    ],
)
def test_the_services_own_variable_comes_first_then_the_common_one_then_aws(
    environment: dict[str, str], expected: str | None
) -> None:
    endpoint = service_endpoint("dynamodb", environment)
    assert endpoint.authority == (expected or "vpce-1.dynamodb.eu-west-1.vpce.amazonaws.com")
    assert endpoint.tls is (expected is None or "amazonaws" in expected)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://dynamodb.example.com", "plain http to another machine"),
        ("http://192.168.0.10:8000", "plain http to another machine"),
        ("http://127.0.0.1.example.com", "plain http to another machine"),
        ("http://localhost:8000/path", "has a path"),
        ("https://host:port", "is not an endpoint"),
        ("https://", "is not an endpoint"),
        ("ftp://127.0.0.1", "is not an endpoint"),
        ("localhost:8000", "is not an endpoint"),
        ("https://größe.example", "is not an endpoint"),
    ],
)
def test_an_endpoint_that_cannot_be_used_safely_is_refused(url: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        service_endpoint("dynamodb", {"AWS_ENDPOINT_URL": url})


def test_without_a_region_there_is_no_endpoint() -> None:
    with pytest.raises(ConfigError, match="AWS_REGION is not set"):
        service_endpoint("dynamodb", {})


def test_a_path_and_its_query_are_kept() -> None:
    assert Endpoint.parse("http://127.0.0.1:9001/2021/credentials?x=1") == Endpoint(
        "127.0.0.1", 9001, tls=False, path="/2021/credentials?x=1"
    )
