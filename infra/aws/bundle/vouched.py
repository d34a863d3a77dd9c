"""A definition that is vouched for: what a bundle of it would do with every event that its schemas ever described.

``load_pipeline`` judges the text. What is judged here costs more than the function has time for, or is about the bundle:
schemas that it could not hold, and older schemas whose events it could not read.
"""

from pathlib import Path, PurePosixPath

from processors.pipeline_files import load_pipeline
from streamgage.definition.evolution import problems_of
from streamgage.definition.pipeline import Pipeline
from streamgage.errors import ConfigError


def vouched_pipeline(path: Path) -> Pipeline:
    """Return the definition in the file *path*.

    Raises:
        ConfigError: with every problem, its own or those of what it names.
    """
    pipeline = load_pipeline(path)
    problems = [f"{path}: {each}" for each in (*_outside(pipeline), *problems_of(pipeline))]
    if problems:
        raise ConfigError(*problems)
    return pipeline


def schema_files(pipeline: Pipeline) -> dict[str, str]:
    """Return the paths of all schemas of *pipeline*, as in the bundle, with those that the definition names."""
    paths = (each for source in pipeline.sources.values() for each in source.paths)
    return {PurePosixPath(each).as_posix(): each for each in paths}


def _outside(pipeline: Pipeline) -> list[str]:
    return [
        f"source {source.name}: {path!r} is outside of the definition's folder, and of the function's bundle: every "
        "invocation would fail. Move the schema below pipeline.toml"
        for source in pipeline.sources.values()
        for path in source.paths
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts
    ]
