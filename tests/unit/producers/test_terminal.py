"""What a command prints reaches a person visibly, and a program exactly."""

import ast
import io
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.table import Table
from rich.text import Text

from infra.commands import main
from producers.screen import Screen
from producers.terminal import VisibleStream, beneath_of, data_out, watched
from streamgage.errors import ConfigError, RetryableError
from support.paths import ROOT

HOSTILE = "k\x1b]0;owned\x07\x9b2J\u202e[bold red]x[/]:smile:\x7f"
ESCAPED = r"k\x1b]0;owned\x07\x9b2J\u202e[bold red]x[/]:smile:\x7f"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Latin(io.StringIO):
    encoding = "latin-1"


@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
def test_a_print_is_visible_on_whatever_stream(
    kind: type[io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = kind()
    monkeypatch.setattr(sys, "stdout", out)
    with watched():
        print(HOSTILE)
        sys.stdout.writelines([HOSTILE])
    assert out.getvalue() == f"{ESCAPED}\n{ESCAPED}"
    assert sys.stdout is out


def test_data_is_exact_in_a_file_and_visible_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for out, written in ((io.StringIO(), HOSTILE), (Terminal(), ESCAPED)):
        monkeypatch.setattr(sys, "stdout", out)
        with watched():
            data_out().write(HOSTILE)
        assert out.getvalue() == written


def test_what_the_terminals_encoding_lacks_is_escaped_and_ends_nothing() -> None:
    out = Latin()
    VisibleStream(out).write("grün 東\udce9")
    assert out.getvalue() == r"grün \u6771\udce9"


def drawn(what: Any, *, colours: bool = False) -> str:
    out = Terminal() if colours else io.StringIO()
    Screen(file=out, width=100).print(what)
    return out.getvalue()


def table(cell: Any) -> Table:
    made = Table(title=HOSTILE, caption=HOSTILE)
    made.add_column(HOSTILE, footer=HOSTILE)
    made.add_row(cell)
    return made


@pytest.mark.parametrize(
    "what",
    [HOSTILE, Text(HOSTILE), table(HOSTILE), table(Text(HOSTILE))],
    ids=["text", "Text", "cells", "Texts"],
)
def test_whatever_is_drawn_is_escaped_and_no_markup(what: Any) -> None:
    text = drawn(what)
    assert ESCAPED.replace(r"\x07", "") in text.replace(r"\x07", "")  # a bell, rich leaves out of its Text
    assert all(each.isprintable() for each in text.splitlines())


def test_a_table_of_hostile_texts_stays_straight() -> None:
    widths = {len(line) for line in drawn(table(HOSTILE)).splitlines()[1:-1]}
    assert len(widths) == 1


def test_our_own_colours_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[31m" in drawn(Text(HOSTILE, "red"), colours=True)


def test_a_screen_writes_beneath_a_visible_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    with watched():
        assert Screen().file is out
        assert Screen(file=sys.stdout).file is out
    assert beneath_of(out) is out


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """Make ``streamgage check`` raise what is put into the list."""
    errors: list[Exception] = []

    def run(_: object) -> int:
        raise errors[0]

    monkeypatch.setattr("infra.commands.check.run", run)
    return errors


@pytest.mark.parametrize(
    "error", [ConfigError(f"{HOSTILE}\nall is well"), RetryableError(f"{HOSTILE}\nall is well")]
)
def test_an_error_that_quotes_a_stranger_is_visible(
    error: Exception, failing: list[Exception], capsys: pytest.CaptureFixture[str]
) -> None:
    failing.append(error)
    assert main.main(["check"]) in (1, 2)
    said = capsys.readouterr().err
    assert said == f"streamgage: {ESCAPED}\n  all is well\n"


def test_an_argument_that_is_not_known_is_told_visibly(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main.main(["check", HOSTILE])
    assert ESCAPED in capsys.readouterr().err


def test_nobody_else_makes_a_console() -> None:
    """A console of rich's own takes markup, and writes ESC as it stands in a key."""
    others = [
        str(path.relative_to(ROOT))
        for room in ("streamgage", "producers", "processors", "infra", "benchmarks")
        for path in (ROOT / room).rglob("*.py")
        if path != ROOT / "producers" / "screen.py" and _makes_a_console(path)
    ]
    assert others == []


_MAKERS = {"Console", "print", "get_console", "print_json", "render"}


def _makes_a_console(path: Path) -> bool:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    imported = [
        name.name
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.module in ("rich", "rich.console", "rich.markup")
        for name in node.names
    ]
    called = [ast.unparse(node.func).rpartition(".")[2] for node in nodes if isinstance(node, ast.Call)]
    return not _MAKERS.isdisjoint(imported) or not {"from_markup", "from_ansi"}.isdisjoint(called)


@pytest.mark.parametrize(
    "verb", ["status", "query device_metrics device_id=a metric=b", "destroy --yes", "deploy"]
)
def test_no_command_tells_the_password_of_an_endpoint(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """boto3 quotes the endpoint that it could not reach as it was given."""
    for name, value in {
        "AWS_ENDPOINT_URL": "http://user:geheim@127.0.0.1:1", "AWS_MAX_ATTEMPTS": "1", "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "eu-central-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    target = () if verb in ("destroy --yes", "deploy") else ("--target", "aws")
    pipeline = () if verb in ("destroy --yes", "status") else ("--pipeline", str(ROOT / "pipeline.toml"))
    assert main.main([*verb.split(), *target, *pipeline]) == 1
    said = capsys.readouterr().err
    assert "127.0.0.1:1" in said
    assert "geheim" not in said
