"""A question and what is made of its rows, from plain values: one way for the command line, Python and HTTP."""

from collections.abc import Iterable, Mapping

from processors.query.answer import Shape, filter_of, selected_of
from processors.query.question import Question
from processors.query.shape import Column, Filling
from streamgage.definition.pipeline import Pipeline
from streamgage.errors import ConfigError


def prepared(
    pipeline: Pipeline,
    rollup: str,
    *,
    key: Mapping[str, str] | None = None,
    window: str | None = None,
    from_ms: int = 0,
    to_ms: int,
    group_by: Iterable[str] | None = None,
    total: bool = False,
    top: int | None = None,
    by: str | None = None,
    each_window: bool = False,
    any_window: bool = False,
    where: str | None = None,
    select: Mapping[str, str] | None = None,
    compare: str | None = None,
    fill: Filling | None = None,
    moving: int = 1,
    limit: int | None = None,
) -> tuple[Question, Shape]:
    """Return the question and the shape of its answer. Without *each_window* or *any_window* a *top* is of the whole range.

    Raises:
        ConfigError: there is no such rollup, field, window or column, or they do not go together; every problem.
    """
    problems = []
    if by is not None and top is None and compare is None:
        problems.append("--by says how --top ranks, or what --compare compares: add one of them")
    asked = {"--each-window": each_window, "--any-window": any_window, "--total": total}
    ranges = [name for name, is_asked in asked.items() if is_asked]
    if len(ranges) > 1:
        problems.append(f"{' and '.join(ranges)} exclude each other")
    problems += [
        f"{name} says of what --top is: add --top N" for name in ranges if name != "--total" and top is None
    ]
    is_by_window = each_window or any_window
    is_total = total or (top is not None and not is_by_window)
    problems += [
        f"{name} is of windows: leave --total out, and say --each-window or --any-window with --top"
        for name, is_asked in {"--compare": compare, "--fill": fill, "--moving": moving > 1}.items()
        if is_asked and is_total
    ]
    if problems:
        raise ConfigError(*problems)
    question = Question.parse(
        pipeline,
        rollup=rollup,
        key=key,
        window=window,
        from_ms=from_ms,
        to_ms=to_ms,
        group_by=group_by,
        moving=moving,
        total=total or (top is not None and not is_by_window),
    )
    earlier = None
    if compare is not None:
        question, earlier = question.compared_with(compare)
    return question, Shape(
        where=None if where is None else filter_of(question, where),
        select=selected_of(question, select or {}) or None,
        fill=fill,
        compare=earlier,
        top=top,
        by=None if by is None else Column.parse(question.rollup, by),
        each_window=each_window,
        limit=limit,
    )
