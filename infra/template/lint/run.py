"""Ask every rule about a template under its parameters, beside the pipeline definition that it will run."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from infra.template.lint.resolve import broken_rules, resolved
from infra.template.lint.rule import Finding
from infra.template.lint.rules import ALL
from infra.template.lint.source import Source
from infra.template.lint.subject import Subject
from infra.template.read import parameters_for, read_template
from infra.template.translate import translate
from streamgage.definition.pipeline import Pipeline
from streamgage.errors import ConfigError

# What a value of another kind than CloudFormation's gives: a list where a mapping is due, an intrinsic without arguments.
_MISSHAPEN = (TypeError, ValueError, KeyError, IndexError, AttributeError, RecursionError)


def findings(template: Path, pipeline: Pipeline | None, given: Mapping[str, str]) -> list[Finding]:
    """Return what our rules find in *template*, in the order of its lines.

    Parameters have the values of *given*, else of ``[deploy]`` of *pipeline*, else their defaults. What the template
    accepts with a reason is among the findings, with the reason.

    Raises:
        ConfigError: the template cannot be read or translated, or has no such parameter.
    """
    written = read_template(template)
    deploy = {} if pipeline is None else pipeline.deploy
    try:
        values = parameters_for(written, deploy=deploy, given=given)
        resources = resolved(translate(template), parameters=values)
        broken = tuple(broken_rules(written, parameters=values))
        subject = Subject(resources, pipeline, written.get("Parameters", {}), values, broken)
        return sorted(
            _ask(subject, Source.read(template)), key=lambda each: (each.line, each.rule, each.what)
        )
    except _MISSHAPEN as error:
        raise ConfigError(
            f"{template}: not a template that CloudFormation takes: something in it has not the shape that it must have "
            f"({type(error).__name__}: {error})"
        ) from error


def _ask(subject: Subject, source: Source) -> Iterator[Finding]:
    for rule in ALL:
        for problem in rule.check(subject):
            logical_id = str(problem.path[1]) if problem.path[:1] == ("Resources",) else ""
            yield Finding(
                rule=rule.id,
                severity=rule.severity,
                file=str(source.file),
                line=source.line_of(problem.path),
                what=f"{logical_id}: {problem.what}" if logical_id else problem.what,
                why=rule.why,
                mend=rule.mend,
                accepted=source.accepted(logical_id, rule.id),
            )
