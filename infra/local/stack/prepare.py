"""A folder made into a home, or a sentence that says why it cannot be one."""

from infra.local.files import make_private
from infra.local.stack.home import Home
from streamgage.errors import ConfigError

_ELSE = "Choose a folder that you may write to: STREAMGAGE_HOME=/path"


def make_home(home: Home) -> None:
    """Have the folder of *home* be there, its owner's alone.

    Raises:
        ConfigError: it cannot be, or a stack could not run in it.
    """
    if ":" in str(home.root):
        raise ConfigError(
            f"{home.root}: a home has no ':' in its path, for it parts folders in PYTHONPATH. {_ELSE}"
        )
    try:
        _check_parents(home)
        make_private(home.root)
    except ConfigError as error:
        raise ConfigError(f"{error}. {_ELSE}") from error
    except OSError as error:
        raise ConfigError(f"{home.root}: {error.strerror or error}. {_ELSE}") from error


def _check_parents(home: Home) -> None:
    for parent in home.root.parents:
        if parent.exists() and not parent.is_dir():
            raise ConfigError(f"{parent} is a file; it must be a folder")
