"""The page's files, without a browser: light, whole, and nothing in them that a strict policy forbids."""

import gzip
import json
import re

from support.page_server import WEB

FILES = {each.name: each.read_text(encoding="utf-8") for each in sorted(WEB.iterdir())}
MOST_BYTES = 50 * 1024  # gzipped, of the whole page


def test_the_page_is_light() -> None:
    weight = sum(len(gzip.compress(text.encode(), mtime=0)) for text in FILES.values())
    assert weight <= MOST_BYTES


def test_every_module_is_announced_and_none_that_is_not_there() -> None:
    """What is announced is fetched at once, not one import after the other."""
    announced = re.findall(r'<link rel="modulepreload" href="([^"]+)">', FILES["index.html"])
    assert [*announced, "main.js"] == [
        *sorted(each for each in FILES if each.endswith(".js") and each != "main.js"),
        "main.js",
    ]
    imported = {each for text in FILES.values() for each in re.findall(r'from "\./([\w.]+)"', text)}
    assert imported == set(announced)


def test_nothing_is_inline_and_nothing_comes_from_elsewhere() -> None:
    html = FILES["index.html"]
    assert not re.search(r"\sstyle=|<style|\son\w+=|<script(?![^>]*\ssrc=)", html)
    for name, text in FILES.items():
        urls = set(re.findall(r"https?://[^\s\"')>]+", text))
        assert urls <= {"http://www.w3.org/2000/svg"}, name
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text
        ), name


def test_what_javascript_asks_for_is_relative() -> None:
    assert 'base = "v1/"' in FILES["feed.js"]
    assert [name for name, text in FILES.items() if re.search(r"\bfetch\(", text)] == ["feed.js", "signin.js"]


def test_without_a_deployment_nobody_signs_in() -> None:
    assert json.loads(FILES["config.json"]) == {"sign_in": None}


def test_every_id_that_is_looked_for_is_there() -> None:
    ids = set(re.findall(r'\sid="([^"]+)"', FILES["index.html"]))
    assert set(re.findall(r'\$\("([^"]+)"\)', FILES["main.js"])) <= ids
    assert len(ids) == len(re.findall(r'\sid="', FILES["index.html"]))


def test_each_colour_has_its_pair_in_the_dark() -> None:
    light, dark = re.findall(r":root \{(.*?)\}", FILES["style.css"], re.DOTALL)
    names = re.findall(r"--([\w-]+):", light)
    assert names == re.findall(r"--([\w-]+):", dark)
    assert set(re.findall(r"var\(--([\w-]+)\)", FILES["style.css"])) <= set(names)
