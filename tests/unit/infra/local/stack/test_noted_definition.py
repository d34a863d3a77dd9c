"""What a home notes of what it counts: before any version that does can have begun."""

from pathlib import Path

import pytest

from infra.local.stack.definition import check_definition, keep_definition, noted_before
from infra.local.stack.home import Home
from infra.local.stack.versions import RefusedVersion
from processors.pipeline_files import FilesIn
from streamgage.definition.pipeline import Pipeline
from streamgage.definition.pipeline_toml import parse_pipeline
from streamgage.errors import ConfigError, RetryableError
from support.paths import ROOT

TEXT = (ROOT / "pipeline.toml").read_text(encoding="utf-8")


def pipeline(text: str) -> Pipeline:
    return parse_pipeline(text, FilesIn(ROOT))


BEFORE = pipeline(TEXT[: TEXT.index("[[sources.from]]")] + TEXT[TEXT.index('[[sources]]\nname = "click"') :])
AFTER = pipeline(TEXT)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    found = Home(tmp_path)
    found.definition_file.parent.mkdir()
    keep_definition(found, BEFORE, "main")
    return found


@pytest.mark.parametrize(
    "error", [RetryableError("waited"), ConfigError("it was stopped"), KeyboardInterrupt()]
)
def test_what_a_version_may_have_read_is_noted_whatever_became_of_the_shift(
    home: Home, error: BaseException
) -> None:
    with pytest.raises(type(error)), noted_before(home, AFTER, "main"):
        raise error
    with pytest.raises(ConfigError, match="would read of agents what it did otherwise"):
        check_definition(home, BEFORE, "main")
    check_definition(home, AFTER, "main")


def test_what_a_version_would_have_read_that_was_refused_binds_nobody(home: Home) -> None:
    with pytest.raises(RefusedVersion), noted_before(home, AFTER, "main"):
        raise RefusedVersion("it cannot start")
    check_definition(home, BEFORE, "main")
