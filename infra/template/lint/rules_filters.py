"""Rules on FilterCriteria: what Lambda drops before a function sees it, and tells nobody of."""

from collections.abc import Iterator

from infra.template.filtering.criteria import DATA, FILTERS, METADATA, Criteria, parse_criteria
from infra.template.lint.rule import Problem, Rules
from infra.template.lint.subject import StreamMapping, Subject
from streamgage.definition.pipeline import Source

RULES = Rules()


@RULES.add(
    "SG017",
    "error",
    what="FilterCriteria on `data` with our function",
    why="aggregated (KPL), Avro and block records are not JSON: Lambda drops every one of them without a word, and the mapping "
    "goes on as if they were counted",
    mend="take the filter out; where each producer of the stream sends one plain JSON event a record, accept the rule and say so",
)
def filters_can_read_the_data(subject: Subject) -> Iterator[Problem]:
    """Lambda filters on data that is JSON, and drops what is not."""
    for each in subject.mappings:
        criteria, _ = _filters(each)
        if each.is_ours and criteria is not None and any(DATA in one.roots() for one in criteria.patterns):
            blocks = sorted(one.name for one in _sources(subject) if one.blocks)
            what = f"a filter reads data as JSON, and blocks are sent by: {', '.join(blocks)}"
            yield Problem.at(each.node, what if blocks else "a filter reads data as JSON", "FilterCriteria")


@RULES.add(
    "SG018",
    "error",
    what="FilterCriteria that Lambda refuses, or does not document",
    why="the deployment fails; or records are dropped by a field that they do not have, or that Lambda does not filter Kinesis on",
    mend="filter on fields within data, by the operators of Lambda's guide, in at most 5 filters; or in the function",
)
def filters_are_documented(subject: Subject) -> Iterator[Problem]:
    """The guide: "Kinesis event source mappings only support filtering on the data key"."""
    for each in subject.mappings:
        criteria, problems = _filters(each)
        for problem in problems:
            yield Problem.at(each.node, problem, "FilterCriteria")
        if criteria is None:
            continue
        roots = {root for pattern in criteria.patterns for root in pattern.roots()}
        for root in sorted(roots - {DATA}):
            what = (
                f"a filter looks at {root}, beside data"
                if root in METADATA
                else f"no record has a field {root}: what its filter wants never comes"
            )
            yield Problem.at(each.node, what, "FilterCriteria")
        if len(criteria.patterns) > FILTERS:
            what = f"{len(criteria.patterns)} filters, and {FILTERS} are allowed unless the quota is raised"
            yield Problem.at(each.node, what, "FilterCriteria")


def _filters(mapping: StreamMapping) -> tuple[Criteria | None, list[str]]:
    """Return a mapping's filters and their problems; neither where a pattern is known to AWS only."""
    given = mapping.node.get("FilterCriteria")
    listed = given.get("Filters") if isinstance(given, dict) else None
    filters = listed if isinstance(listed, list) else []
    if any(isinstance(each, dict) and _is_unknown(each.get("Pattern")) for each in filters):
        return None, []
    return parse_criteria(given)


def _is_unknown(pattern: object) -> bool:
    """Whether *pattern* is what only AWS can work out, such as Fn::ImportValue; an object of its own is none, it is wrong."""
    return isinstance(pattern, dict) and any(name == "Ref" or name.startswith("Fn::") for name in pattern)


def _sources(subject: Subject) -> tuple[Source, ...]:
    return () if subject.pipeline is None else tuple(subject.pipeline.sources.values())
