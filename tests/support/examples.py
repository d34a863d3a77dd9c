"""How many examples a law gets: a share in every run, and the whole of them in ``make slow``."""

from hypothesis import settings

THOROUGH = "thorough"
"""The profile that ``make slow`` chooses: ``--hypothesis-profile thorough``."""


def examples(share: int, *, whole: int) -> int:
    """Return *share*, or *whole* in a thorough run. For ``max_examples``, while a test file is imported.

    The share has to find what the law's planted faults are; what more examples find is luck.
    """
    return whole if settings.get_current_profile_name() == THOROUGH else share
