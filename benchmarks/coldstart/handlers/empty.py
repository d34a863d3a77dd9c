"""Does nothing: what the runtime itself takes."""

from typing import Any


def handler(event: Any, context: Any) -> None:
    """Handle one invocation."""
