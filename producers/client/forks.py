"""What a forked child must not share with its parent: an identity, a buffer, connections, locks."""

import os
from typing import Protocol
from weakref import WeakSet


class Forked(Protocol):
    """Who has something that a child must not share."""

    def renew_in_child(self) -> None:
        """Become another, in a child that was just forked: its only thread runs this, and locks may be held for ever."""


_living: WeakSet[Forked] = WeakSet()


def renew_in_children(each: Forked) -> None:
    """Have *each* renewed in every child that is forked while it lives."""
    _living.add(each)


def _renew_all() -> None:
    for each in list(_living):
        each.renew_in_child()


if hasattr(os, "register_at_fork"):  # not where there is no fork
    os.register_at_fork(after_in_child=_renew_all)
