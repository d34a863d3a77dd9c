"""Questions, and their answers. For notebooks and programs: ``from processors.query import Tables``."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from processors.query.tables import Tables

__all__ = ["Tables"]


def __getattr__(name: str) -> Any:
    """Return what is imported from here: only who names it pays for it."""
    if name == "Tables":
        from processors.query.tables import Tables  # noqa: PLC0415 - see above

        return Tables
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
