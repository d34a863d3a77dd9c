"""What several damages share is given up once."""

from collections.abc import Callable


def once(action: Callable[[], None]) -> Callable[[], None]:
    """Return a function that calls *action* the first time, and does nothing after."""
    done: list[bool] = []

    def give_up() -> None:
        if not done:
            action()
            done.append(True)

    return give_up
