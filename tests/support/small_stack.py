"""A supervisor of small children: ``python -m support.small_stack HOME NAME=KIND …``. It says what it does on stdout.

The lock, the books, the keeper and the processes are the real ones; only what is kept is small. SIGUSR1: from now on no file
may grow, as on a full disk; SIGUSR2: it may again.
"""

import resource
import signal
import sys
import time
from functools import partial
from pathlib import Path

from infra.local.files import make_private
from infra.local.stack.books import Books
from infra.local.stack.home import Home
from infra.local.stack.keeper import ChildSpec, IsReady, Keeper
from infra.local.stack.leftovers import end_leftovers
from infra.local.stack.lock import hold
from streamgage.errors import ConfigError

TESTS = Path(__file__).parents[1]


def main(root: str, *children: str) -> int:
    stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stop.append(number))
    signal.signal(signal.SIGUSR1, lambda *_: limit_files(0))
    signal.signal(signal.SIGUSR2, lambda *_: limit_files(resource.RLIM_INFINITY))
    home = Home(Path(root))
    try:
        make_private(home.root)
        with hold(home.lock_file, "up"):
            end_leftovers(home, say=say, wait_s=0.2)
            books = Books(home, say=say)
            keeper = Keeper(say=say, changed=books.note)
            try:
                for name, _, kind in (each.partition("=") for each in children):
                    keeper.start(small_child(home, name, kind))
                for name in keeper.pids():
                    keeper.await_ready(name)
                say("up")
                while not stop:
                    keeper.look()
                    books.settle()
                    time.sleep(0.02)
            finally:
                keeper.stop()
                books.close()
    except ConfigError as error:
        say(str(error))
        return 2
    return 0


def small_child(home: Home, name: str, kind: str) -> ChildSpec:
    mark = home.root / f"{name}.ready"

    def probe() -> IsReady:
        mark.unlink(missing_ok=True)
        return partial(is_marked, mark, kind)

    return ChildSpec(
        name=name,
        arguments=("-m", "support.small_child", kind, str(mark)),
        log=home.logs / f"{name}.log",
        probe=probe,
        environment={"PYTHONPATH": str(TESTS)},
        stop_s=0.2,
    )  # fmt: skip


def is_marked(mark: Path, kind: str) -> bool:
    return kind == "dying" or mark.exists()


def limit_files(most_bytes: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
