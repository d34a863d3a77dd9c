"""What the gateway says of its work, in its log."""

import sys
from collections.abc import Callable

Say = Callable[[str], None]


def say_on_stderr(text: str) -> None:
    """Say *text* as the gateway's own line."""
    print(f"gateway: {text}", file=sys.stderr, flush=True)
