"""The function of a world: sandboxes with a memory, invocations, and what happens around each call they make."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from infra.local.function.outcome import Answered, Failed, NotInvoked, Outcome
from infra.local.mapping.payload import encode_payload
from processors.aggregate.batch import Aggregate
from simulation.plan import Dice
from simulation.schedule import Action, Scheduler
from simulation.trace import Trace
from streamgage.errors import RetryableError
from streamgage.records import StreamRecord
from support.fakes import Crash

_IDLE = 4  # sandboxes kept for the next invocation
_PLENTY_MS = 60_000
_PAUSES_MS = (1_000, 5_000, 60_000)  # of a zombie


@dataclass(slots=True)
class Run:
    """One invocation under way. Lambda hears of it once: when it ends, or when Lambda gives it up.

    ``questions`` is how often it may look at the clock before no time is left; None: there is plenty.
    """

    records: Sequence[StreamRecord]
    settle: Callable[[Outcome], None] | None
    questions: int | None = None
    given_up: bool = False

    def clock_s(self) -> float:
        """Return the time of the sandbox's clock, in s: it stands still until the invocation's time is over."""
        if self.questions is None:
            return 0.0
        self.questions -= 1
        return 0.0 if self.questions >= 0 else _PLENTY_MS / 1000


class Calls:
    """What happens around the calls of a sandbox: it dies, it is overtaken, the call fails, or its answer is lost."""

    def __init__(self, scheduler: Scheduler, dice: Dice) -> None:
        self._scheduler, self._dice = scheduler, dice
        self._runs: list[Run] = []

    def clock_s(self) -> float:
        """Return the time of the clock of the sandbox that is making a call, in s."""
        return self._runs[-1].clock_s() if self._runs else 0.0

    @property
    def run(self) -> Run | None:
        """The invocation that is making a call; None outside of any, as where a write arrives late."""
        return self._runs[-1] if self._runs else None

    def enter(self, run: Run) -> None:
        """Say that *run* begins, in the midst of others perhaps."""
        self._runs.append(run)

    def leave(self) -> None:
        """Say that the run that began last has ended."""
        self._runs.pop()

    def make(self, effect: Action, *, refused: str, lost: str = "", delayed: str = "") -> None:
        """Make one call: *effect* is what it does; the others name the faults that may strike it.

        Raises:
            RetryableError: it failed, perhaps after it took effect, or before it will.
            Crash: the sandbox died.
        """
        dice = self._dice
        crash = dice.strikes("crash")
        if crash and dice.of("crash").random() < 0.5:
            raise Crash
        self._wait()
        if dice.strikes(refused):
            raise RetryableError("throttled")
        if delayed and dice.strikes(delayed):
            delay_ms, run = dice.of(delayed).choice((1, 300, 5_000, 30_000)), self._runs[-1]
            self._scheduler.after(delay_ms, lambda: self._arrive(run, effect))
            raise RetryableError("timed out")
        effect()
        if crash:
            raise Crash
        self._wait()
        if lost and dice.strikes(lost):
            raise RetryableError("timed out after it was done")

    def _arrive(self, run: Run, effect: Action) -> None:
        self._runs.append(run)
        effect()
        self._runs.pop()

    def _wait(self) -> None:
        dice, run = self._dice, self._runs[-1]
        if not self._scheduler.may_pause:
            return
        if run.settle is not None and not run.given_up and dice.strikes("zombie"):
            run.given_up = True
            settle = run.settle
            self._scheduler.after(0, lambda: settle(Failed("timed out")))
            self._scheduler.pause(dice.of("zombie").choice(_PAUSES_MS))
        elif dice.strikes("overlap"):
            self._scheduler.pause(dice.of("overlap").choice((1, 20, 300, 2_000)))


class Function:
    """Invokes the handler in sandboxes. *build* makes one with an empty memory."""

    def __init__(
        self,
        scheduler: Scheduler,
        dice: Dice,
        calls: Calls,
        *,
        build: Callable[[], Aggregate],
        stream_arn: str,
        branches: Counter[str],
        trace: Trace,
    ) -> None:
        self._scheduler, self._dice, self._calls, self._trace = scheduler, dice, calls, trace
        self._build, self._stream_arn, self._branches = build, stream_arn, branches
        self._idle: list[Aggregate] = []
        self.invocations = 0

    def invoke(self, records: Sequence[StreamRecord], settle: Callable[[Outcome], None]) -> None:
        """Invoke with *records*; *settle* is called once, some time later, with how it ended."""
        dice, after = self._dice, self._scheduler.after
        if dice.strikes("not_invoked"):
            after(1, lambda: settle(NotInvoked("throttled")))
            return
        if dice.strikes("duplicate"):
            delay_ms = dice.of("duplicate").choice((0, 100, 5_000, 30_000))
            after(delay_ms, lambda: self._run(Run(records, None)))
        after(0, lambda: self._run(Run(records, settle)))

    def _run(self, run: Run) -> None:
        if self._dice.strikes("out_of_time"):
            run.questions = self._dice.of("out_of_time").randint(1, 9)  # the first look makes the deadline
        sandbox = self._sandbox()
        event = json.loads(encode_payload(run.records, stream_arn=self._stream_arn))
        self._calls.enter(run)
        self.invocations += 1
        number = f"invocation {self.invocations}"
        self._trace.note(number, tuple(run.records), "" if run.settle else "(a duplicate)")
        outcome: Outcome
        try:
            answer = sandbox.handle(event, remaining_ms=lambda: _PLENTY_MS)
        except Crash:
            outcome = Failed("the sandbox died")
        else:
            outcome = Answered(json.dumps(answer).encode())
            self._idle.append(sandbox)
            del self._idle[:-_IDLE]
        finally:
            self._calls.leave()
        self._trace.note(
            number, "ended,", "nobody waits" if run.given_up or not run.settle else _said(outcome)
        )
        if run.settle is None:
            return
        if run.given_up:
            self._branches["zombie went on"] += 1
            return
        if isinstance(outcome, Answered) and self._dice.strikes("answer_lost"):
            outcome = Failed("timed out at its very end")
        run.settle(outcome)

    def _sandbox(self) -> Aggregate:
        if not self._idle or self._dice.strikes("sandbox_lost"):
            return self._build()
        if self._dice.strikes("sandbox_stale"):
            return self._idle.pop(0)
        return self._idle.pop()


def _said(outcome: Outcome) -> str:
    return outcome.payload.decode() if isinstance(outcome, Answered) else outcome.message
