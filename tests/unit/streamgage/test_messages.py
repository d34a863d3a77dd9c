"""What a message may show."""

import pytest

from processors.awsjson.endpoint import Endpoint
from producers.client.kinesis import connect
from streamgage.errors import ConfigError, without_password


@pytest.mark.parametrize(
    "url",
    [
        "http://me:geheim@host/",
        "ftp://me:geheim@127.0.0.1",
        "http://me:ge/heim@host",
        "http://me:ge@heim@host:x",
        "//me:geheim@",
    ],
)
def test_a_password_in_a_refused_url_is_not_shown(url: str) -> None:
    assert "heim" not in without_password(url)
    with pytest.raises(ConfigError) as refused:
        Endpoint.parse(url)
    assert "heim" not in str(refused.value)


def test_nor_in_one_that_boto3_refuses() -> None:
    with pytest.raises(ConfigError) as refused:
        connect("s", endpoint_url="no scheme//me:geheim@host", region="r", credentials=("a", "b"))
    assert "heim" not in str(refused.value)


def test_a_url_without_one_is_shown_as_it_is() -> None:
    assert without_password("http://127.0.0.1:4567/a@b") == "http://…@b"  # rather too little than a password
    for url in ("http://127.0.0.1:4567", "no url", "", "a@b"):
        assert without_password(url) == url
