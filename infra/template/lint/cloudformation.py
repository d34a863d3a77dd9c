"""cfn-lint's findings as ours. It comes with the extra ``dev``; without it only our own rules are asked."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

from infra.template.lint.rule import Finding

HOW_TO_GET = "cfn-lint is not installed, only our own rules were asked: pip install 'streamgage[dev]'"
_SEVERITIES = {"E": "error", "W": "warning", "I": "warning"}


def is_installed() -> bool:
    """Whether cfn-lint can be asked."""
    return importlib.util.find_spec("cfnlint") is not None


def ask(template: Path) -> Iterator[Finding]:
    """Yield what cfn-lint finds in *template*, which it reads as SAM, under the defaults of its parameters."""
    from cfnlint.api import lint_file  # noqa: PLC0415 - of the extra `dev`, and half a second

    for each in lint_file(template):
        yield Finding(
            rule=each.rule.id,
            severity=_SEVERITIES.get(each.rule.id[:1], "error"),
            file=str(template),
            line=each.linenumber,
            what=each.message,
            why=each.rule.description,
            mend=f"see {each.rule.source_url}" if each.rule.source_url else "see `cfn-lint --list-rules`",
        )
