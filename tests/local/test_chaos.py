"""The chaos table: whatever is done to a stack, and when, every total is exact, or the loss is named with its extent.

Three cells, drawn by STREAMGAGE_CHAOS_SEED, are in every run; all of them in `make soak`.
"""

import os
import shutil
import signal
import time
from collections.abc import Iterator

import pytest

from infra.local.stack.children import wait_until
from support.chaos import Rig
from support.chaos_table import CELLS, Cell, Phase, kill, share
from support.machine import PATIENCE_S

pytestmark = pytest.mark.local

SEED = int(os.environ.get("STREAMGAGE_CHAOS_SEED", "7"))


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    rig = Rig(tmp_path_factory.mktemp("chaos"), seed=SEED)
    yield rig
    rig.end()


@pytest.mark.parametrize("cell", share(SEED), ids=str)
def test_a_share_of_the_chaos_table_is_exact_or_named(rig: Rig, cell: Cell) -> None:
    run(rig, cell)


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_every_cell_of_the_chaos_table_is_exact_or_named(rig: Rig, cell: Cell) -> None:
    began_s = time.monotonic()
    outcome = run(rig, cell)
    ends = f"; started again after: {' / '.join(rig.ends)}" if rig.ends else ""
    print(f"chaos: {cell}: {outcome}{ends} ({time.monotonic() - began_s:.1f} s)", flush=True)


def run(rig: Rig, cell: Cell) -> str:
    """Do what the cell says in its phase; return "exact", or how the loss was named."""
    rig.settle()
    rig.ends.clear()
    if cell.phase is Phase.BETWEEN:
        return between_runs(rig, cell)
    if cell.phase is Phase.SENDING:
        with rig.send() as sender:
            rig.await_work()
            cell.act(rig)
            rig.keep_up_until(sender.is_done)
    elif cell.phase is Phase.DRAINED:
        with rig.send():
            pass
        rig.drain()
        cell.act(rig)
    else:
        with rig.backlog(), rig.send():
            pass
        cell.act(rig) if cell.phase is Phase.APPLYING else stopping(rig, cell)
    rig.drain()
    assert rig.differences() == [], str(cell)
    assert cell.ends_it or rig.ends == []
    return "exact"


def stopping(rig: Rig, cell: Cell) -> None:
    """Do it while `down` is at work, which ends all the same."""
    rig.stopper = down = rig.popen("down")
    wait_until(lambda: "stopping" in rig.said() or not rig.is_up(), seconds=PATIENCE_S, what="a stop")
    cell.act(rig)
    rig.stopper = None
    said, _ = down.communicate(timeout=PATIENCE_S)
    if down.returncode != -signal.SIGKILL:  # a reboot ends it too
        assert down.returncode == 0, said
        rig.reap()


def between_runs(rig: Rig, cell: Cell) -> str:
    """Do it while the stack is down. Where a start, a drain or a reader names a loss, the home is put back."""
    if cell.needs_before:
        rig.keep_before()
    if cell.is_of_the_stream:  # what is lost of it shows in the totals only where it is not applied yet
        rig.freeze_mapping()
        with rig.send():
            pass
        kill("all", rig)
    else:
        if not (cell.is_of_a_document and rig.sent):
            with rig.send():
                pass
            rig.drain()
        kill("all", rig) if cell.leaves_a_kill or rig.dice.random() < 0.5 else rig.down()
    kept = rig.machine.folder / "kept"
    shutil.copytree(rig.home.root, kept, symlinks=True)
    try:
        cell.act(rig)
        named = rig.goes_on() if cell.may_lose else None
        if named is None:
            rig.drain()
            assert rig.differences() == [], str(cell)
            return "exact"
        rig.end()
        assert cell.needs_before or rig.run("doctor").returncode == 1, named
        rig.put_back(kept)
        return f"named: {' '.join(named.split())[-400:]}"
    finally:
        shutil.rmtree(kept)
