"""What of a library does not go into the bundle, and why.

The list was made by a ledger: all that any path of the function imports stays. Tests hold that each rule drops something,
that nothing that it drops is imported, and that every module that stays is.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from infra.aws.bundle.wheels import SCRIPTS

# Of a distribution's own papers: scanners (Amazon Inspector, pip-audit) know a library by METADATA, and licences go along.
_KEPT_PAPERS = ("*.dist-info/METADATA", "*.dist-info/licenses/*")
DROPPED = {
    "*.dist-info/*": "how it was installed; nothing here asks",
    SCRIPTS: "programs for a shell; a function has none",
    "*.pyi": "for type checkers",
    "*/py.typed": "for type checkers",
    "*/__main__.py": "its command line",
    "*/swagger-ui*": "a page with examples; 1.7 MB of it",
    "fastavro/utils.py": "makes up examples; only its users' tests import it",
}
# A pure-Python twin is imported where the compiled module is missing. Of fastavro's, two are imported all the same, by
# json_read and json_write: _read_py and _write_py stay.
TWINS = {
    "fastavro/_logical_readers_py.py": "fastavro/_logical_readers",
    "fastavro/_logical_writers_py.py": "fastavro/_logical_writers",
    "fastavro/_schema_py.py": "fastavro/_schema",
    "fastavro/_validation_py.py": "fastavro/_validation",
}
_COMPILED = (".so", ".pyd")


def kept(files: Iterable[str]) -> list[str]:
    """Return those of a distribution's *files*, sorted, that go into the bundle.

    Left out too is what an installer made: bytecode (it is made anew, for the target), and what lies outside.
    """
    names = sorted(files)
    compiled = {each.split(".", 1)[0] for each in names if each.endswith(_COMPILED)}
    return [each for each in names if _is_kept(each) and TWINS.get(each) not in compiled]


def _is_kept(name: str) -> bool:
    if name.endswith((".pyc", "/")) or ".." in PurePosixPath(name).parts:
        return False
    if any(fnmatchcase(name, pattern) for pattern in _KEPT_PAPERS):
        return True
    return not any(fnmatchcase(name, pattern) for pattern in DROPPED)
