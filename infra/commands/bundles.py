"""The zips of functions: which a person gave for which CodeUri of a template, and where they are made."""

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from streamgage.errors import ConfigError


def zips_given(given: Sequence[Path], places: Iterable[str]) -> dict[str, Path]:
    """Return, of *places* (local CodeUris), those that *given* has a zip for: by file name, in folders too.

    One zip of any name is for the one place that there is.

    Raises:
        ConfigError: a zip is for no place, or two are for one.
    """
    by_name = {PurePosixPath(each).with_suffix(".zip").name: each for each in places}
    only = next(iter(by_name)) if len(by_name) == 1 else None
    found: dict[str, Path] = {}
    problems = []
    for path in given:
        inside = [path / name for name in by_name if (path / name).is_file()] if path.is_dir() else [path]
        if not inside:
            problems.append(f"--bundle {path}: in this folder is none of {', '.join(by_name)}")
        for each in inside:
            name = each.name if each.name in by_name else only
            if name is None:
                problems.append(
                    f"--bundle {each}: this template takes {', '.join(by_name)}; a zip is known by its name"
                )
            elif by_name[name] in found:
                problems.append(f"--bundle {each}: {found[by_name[name]]} is {name} already")
            else:
                found[by_name[name]] = each
    if problems:
        raise ConfigError(*problems)
    return found


def zip_paths(names: Sequence[str], to: Path) -> dict[str, Path]:
    """Return where the zip of each function of *names* goes: into the folder *to*; or *to* itself, where it is a .zip.

    Raises:
        ConfigError: one file for several.
    """
    if to.suffix != ".zip":
        return {name: to / f"{name}.zip" for name in names}
    if len(names) > 1:
        raise ConfigError(
            f"--to {to} is one file, and there are {len(names)} bundles ({', '.join(names)}): name a folder, or one of them: "
            f"--function {names[0]}"
        )
    return dict.fromkeys(names, to)
