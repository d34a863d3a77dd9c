"""The SAM template as it is deployed: its code in S3, its parameters named and complete.

CloudFormation runs the SAM transform itself; here nothing is translated.
"""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infra.template.bounds import READ_S, check_depth, check_size, within
from processors.pipeline_files import read_text
from streamgage.errors import ConfigError

TEMPLATE = Path(__file__).parent / "template.yaml"
_FUNCTION = "AWS::Serverless::Function"


def read_template(path: Path) -> dict[str, Any]:
    """Return the template in the file *path* (YAML or JSON), tags such as !Ref in their long form. Raises: ConfigError."""
    root = read_yaml(path)
    with _told_of(path):
        template = values_of(root)
    if not isinstance(template, dict) or not isinstance(template.get("Resources"), dict):
        raise ConfigError(f"{path}: not a template: it has no Resources")
    return template


def read_yaml(path: Path) -> Any:
    """Return the nodes of the YAML in the file *path*, which are not too much for who walks them.

    Raises:
        ConfigError: it cannot be read, is no YAML, or unfolds to more than a template is.
    """
    import yaml  # noqa: PLC0415 - comes with the translator

    # libyaml, where PyYAML was built with it, takes a tenth of the time.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with _told_of(path), within(READ_S, f"{path}: reading it"):
        text = read_text(str(path))
        check_depth(yaml.parse(text, Loader=loader))
        root = yaml.compose(text, Loader=loader)
        check_size(root)
    return root


def values_of(root: Any) -> Any:
    """Return what the YAML nodes *root* say, tags such as !Ref in their long form; they are used up.

    Raises:
        YAMLError: a value is not of its tag.
        ValueError: the same.
    """
    import yaml  # noqa: PLC0415 - comes with the translator
    from samtranslator.yaml_helper import intrinsics_multi_constructor  # noqa: PLC0415 - of the extra `local`: --help has no use for it

    class Loader(yaml.SafeLoader):  # type: ignore[misc] # PyYAML carries no types
        """One of our own: the translator adds its constructor to everybody's."""

    Loader.add_multi_constructor("!", intrinsics_multi_constructor)
    return None if root is None else Loader("").construct_document(root)


@contextmanager
def _told_of(path: Path) -> Iterator[None]:
    """Turn what is wrong with the file *path* into a ConfigError."""
    from yaml import YAMLError  # noqa: PLC0415 - comes with the translator; PyYAML carries no types

    try:
        yield
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: not a template: it is nested too deep") from error
    except (YAMLError, ValueError) as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error


def local_code(template: Mapping[str, Any]) -> dict[str, str]:
    """Return the handler of what runs from each CodeUri of *template* that is a local path; "" where it has none.

    Raises:
        ConfigError: two handlers have one bundle, which would be made of one of them.
    """
    usual = template.get("Globals", {}).get("Function", {})
    found: dict[str, str] = {}
    problems = []
    for name, each in template["Resources"].items():
        if not isinstance(each, dict) or each.get("Type") != _FUNCTION:
            continue
        properties = {**usual, **(each.get("Properties") or {})}
        place, handler = properties.get("CodeUri"), str(properties.get("Handler", ""))
        if not isinstance(place, str) or place.startswith("s3://") or "InlineCode" in properties:
            continue
        if found.setdefault(place, handler) != handler:
            problems.append(
                f"{name}: CodeUri {place} has two handlers, {found[place]} and {handler}; give each its own"
            )
    if problems:
        raise ConfigError(*problems)
    return found


def with_code(template: Mapping[str, Any], places: Mapping[str, str]) -> dict[str, Any]:
    """Return *template* with its code where it was uploaded: *places* has the s3://bucket/key of each local CodeUri."""
    changed: dict[str, Any] = json.loads(json.dumps(template, default=str))
    properties = [
        each.setdefault("Properties", {})
        for each in changed["Resources"].values()
        if isinstance(each, dict) and each.get("Type") == _FUNCTION
    ]
    properties.append(changed.get("Globals", {}).get("Function", {}))
    for each in properties:
        place = each.get("CodeUri")
        if isinstance(place, str) and place in places:
            each["CodeUri"] = places[place]
    return changed


def body_of(template: Mapping[str, Any]) -> str:
    """Return *template* as CloudFormation takes it, without a space too many."""
    return json.dumps(template, separators=(",", ":"), default=str)


def parameters_for(
    template: Mapping[str, Any], *, deploy: Mapping[str, str], given: Mapping[str, str]
) -> dict[str, str]:
    """Return a value for every parameter of *template*: *given* before *deploy* (of pipeline.toml) before its default.

    A stack is what the template and the definition say, never what a deployment before left behind; so every value is
    sent, and the diff shows one that goes back to its default.

    Raises:
        ConfigError: names that the template does not have, each with the nearest that it has; parameters without value.
    """
    known: Mapping[str, Any] = template.get("Parameters", {})
    problems = [
        f"{where} {name}: the template has no such parameter{_nearest(name, known)}"
        for where, names in (("[deploy]", deploy), ("--parameter", given))
        for name in names
        if name not in known
    ]
    values: dict[str, str] = {}
    for name, parameter in known.items():
        value = given.get(name, deploy.get(name, parameter.get("Default")))
        if value is None:
            problems.append(
                f"parameter {name} has no default: give it in [deploy] of pipeline.toml, or --parameter {name}=VALUE"
            )
            continue
        values[name] = str(value).lower() if isinstance(value, bool) else str(value)
        allowed = [
            str(each).lower() if isinstance(each, bool) else str(each)
            for each in parameter.get("AllowedValues", ())
        ]
        if allowed and values[name] not in allowed:
            problems.append(f"parameter {name} is {values[name]!r}; it may be: {', '.join(allowed)}")
    if problems:
        raise ConfigError(*problems)
    return values


def _nearest(name: str, known: Iterable[str]) -> str:
    names = list(known)
    folded = {each.lower(): each for each in names}
    close = difflib.get_close_matches(name.lower(), list(folded), n=1)
    return (
        f"; did you mean {folded[close[0]]}?" if close else f"; it has: {', '.join(sorted(names)) or 'none'}"
    )
