"""What ends a command is told in a sentence, by the one place that every command goes through."""

import errno

import pytest

from infra.commands import check
from infra.commands.main import main


def test_an_option_whose_value_is_two_dashes_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--pipeline=--"]) == 2
    assert capsys.readouterr().err == "streamgage: --pipeline=--: -- is no value\n"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "/x/y"),
            1,
            "streamgage: /x/y: No space left on device\n",
        ),
        (OSError(errno.EIO, "Input/output error"), 1, "streamgage: Input/output error\n"),
        (
            UnicodeEncodeError("utf-8", "\udcff", 0, 1, "no"),
            2,
            r"streamgage: '\udcff': holds what UTF-8 cannot encode" + "\n",
        ),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 0, ""),
        (KeyboardInterrupt(), 130, "streamgage: interrupted\n"),
    ],
)
def test_what_a_person_can_mend_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    said: str,
) -> None:
    def run(_: object) -> int:
        raise error

    monkeypatch.setattr(check, "run", run)
    assert main(["check"]) == code
    assert capsys.readouterr().err == said
