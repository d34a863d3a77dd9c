"""All our rules, in the order of their ids, and the table of them in docs/lint.md."""

from infra.template.lint import rules_data, rules_filters, rules_http, rules_mapping, rules_monitoring
from infra.template.lint.rule import Rule

ALL: tuple[Rule, ...] = tuple(
    sorted(
        (
            *rules_mapping.RULES.all,
            *rules_filters.RULES.all,
            *rules_http.RULES.all,
            *rules_data.RULES.all,
            *rules_monitoring.RULES.all,
        ),
        key=lambda each: each.id,
    )
)


def table() -> str:
    """Return the rules as a table in Markdown."""
    rows = [
        f"| {each.id} | {each.severity} | {each.what} | {each.why} | {each.mend} |".replace("\n", " ")
        for each in ALL
    ]
    return "\n".join(["| rule | severity | refuses | why | mend |", "|---|---|---|---|---|", *rows])
