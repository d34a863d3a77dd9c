"""A version of the page: what is named by what is in it, and the one file that changes."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.aws.deploy.page import FOR_EVER, SignIn, version_of
from infra.template.page import WEB_DIR, page_files
from streamgage.errors import ConfigError

SIGN_IN = SignIn(
    "https://x.auth.eu-central-1.amazoncognito.com", "https://issuer/pool", "client", by_keys=False
)
FILES = page_files()


def test_everything_but_the_index_is_kept_for_ever_in_a_folder_that_the_index_names() -> None:
    version = version_of(FILES, SIGN_IN)
    assert {each.key for each in version.fixed} == {
        f"{version.name}/{name}" for name in FILES.keys() - {"index.html"}
    }
    assert {each.cache_control for each in version.fixed} == {FOR_EVER}
    assert (version.index.key, version.index.cache_control) == ("index.html", "no-cache")
    html = version.index.body.decode()
    asked = re.findall(r'(?:href|src)="([^"#][^"]*)"', html)
    assert set(asked) <= {each.key for each in version.fixed}
    assert len(asked) == len(re.findall(r'(?:href|src)="[^"#]', (WEB_DIR / "index.html").read_text()))
    types = {each.key.rpartition(".")[2]: each.content_type for each in version.fixed}
    assert types["js"] == "text/javascript; charset=utf-8"
    assert types["svg"] == "image/svg+xml"


@given(st.sampled_from(sorted(FILES)), st.binary(min_size=1, max_size=3))
def test_a_change_of_any_file_is_another_folder(name: str, more: bytes) -> None:
    changed = {**FILES, name: FILES[name] + more.hex().encode()}
    same = version_of(changed, SIGN_IN).name == version_of(FILES, SIGN_IN).name
    assert same is (name == "config.json")  # whose content is the deployment's


def test_who_signs_in_where_is_part_of_the_version_and_what_is_sent_follows_the_claim() -> None:
    by_keys = SignIn(SIGN_IN.url, SIGN_IN.issuer, SIGN_IN.client_id, by_keys=True)
    versions = [version_of(FILES, each) for each in (SIGN_IN, by_keys)]
    assert versions[0].name != versions[1].name
    told = [
        json.loads(each.body)["sign_in"]
        for version in versions
        for each in version.fixed
        if each.key.endswith("/config.json")
    ]
    assert [each["token"] for each in told] == ["access_token", "id_token"]
    assert told[0] == {**told[1], "token": "access_token"}
    assert told[0]["url"] == SIGN_IN.url


def test_an_index_that_asks_for_what_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"asks for what is not there: main\.js"):
        version_of({name: body for name, body in FILES.items() if name != "main.js"}, SIGN_IN)
