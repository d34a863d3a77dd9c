"""Read a spool over that nobody has open, and change nothing."""

from dataclasses import replace
from pathlib import Path

from producers.spool.files import Ownership
from producers.spool.mend import damage_of
from producers.spool.pages import PAGE_BYTES, Found, Pages, survey
from producers.spool.wal import read_log
from streamgage.errors import ConfigError


def examine(path: Path) -> Found:
    """Return what is in the spool *path*, and what is damaged.

    Raises:
        ConfigError: another process has it, it is no spool, or cannot be read.
    """
    ownership = Ownership(path)
    try:
        log = read_log(path, PAGE_BYTES, same_boot=ownership.same_boot)
        with Pages(path, log) as pages:
            found = survey(pages, log)
        if not found.is_spool and path.stat().st_size:
            raise ConfigError(f"{path} is no spool of this version")
        if found.damage:  # SQLite would write to it
            return found
        damage = damage_of(path, same_boot=ownership.same_boot)
        return found if damage is None else replace(found, damage=(damage,))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error})") from error
    finally:
        ownership.release()
