"""Clients that send by HTTP, to a collector that dies: what they send again, what they give up, and what may have counted.

A client sends a batch under a key (``client`` and ``batch``, or an idempotency key), or without one. It does not know what
became of a request that was not answered, or by 503, and sends it again: at once, later, beside the first, under a rotated
API key, after a day, or when the key is forgotten; or never. So what is promised is said of what the collector answered,
whether or not anybody heard it, and is judged by the log: a batch counts as often as it stands there under different marks.
"""

import json
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from urllib.parse import quote

from producers.collector.collector import EVENTS
from producers.collector.message import Answer, Asked
from simulation.collector import HOUR_MS, LINES, ApiKeys, Host
from simulation.definition import Sent, draw_collected
from simulation.plan import Dice, Plan
from simulation.schedule import Scheduler, SimulationError
from simulation.sender import Tallies
from simulation.tally import Tally

_REMEMBERED_MS = 48 * HOUR_MS - HOUR_MS // 4  # clocks differ by minutes
_MOST_ATTEMPTS = 12


@dataclass(slots=True, eq=False)
class Posted:
    """A batch as its client means it, and what the collector answered, whether or not it was heard.

    ``first`` and ``repeated`` are 200, ``refused`` is 409; ``unknown`` are 503 and nothing at all: only these and the first
    may have counted. ``key`` is None where it has none.
    """

    line: str
    key: str | None
    asked: Asked
    events: tuple[Sent, ...]
    broken: int
    dice: random.Random
    begun_ms: list[int] = field(default_factory=list)
    first: int = 0
    repeated: int = 0
    refused: int = 0
    unknown: int = 0
    is_over: bool = False
    is_unauthorized: bool = False


class Clients:
    """All clients of a world, and the account of what they sent."""

    def __init__(
        self,
        plan: Plan,
        host: Host,
        *,
        scheduler: Scheduler,
        tally: Tallies,
        dice: Dice,
        keys: ApiKeys,
        branches: Counter[str],
        rng: random.Random,
    ) -> None:
        self._plan, self.host, self._scheduler, self._tally = plan, host, scheduler, tally
        self._dice, self._keys, self._branches = dice, keys, branches
        self.posted: list[Posted] = []
        self._rivals = plan.events + plan.batches
        for number in range(plan.events, plan.events + plan.batches):
            at_ms, seed = rng.randint(0, plan.span_ms), rng.getrandbits(64)
            if number not in plan.left_out:
                scheduler.after(at_ms, partial(self._begin, number, seed))
        for line in LINES:
            scheduler.after(rng.randint(0, plan.span_ms), partial(self._rotate, line))

    def judge(self, tally: Tally) -> None:
        """Check how often each event counts, by the log. Raises: SimulationError."""
        counts = Counter(
            record.data
            for entry in tally.by_place.values()
            if entry.original is None
            for record in tally.sealed_in(entry.record.data)
        )
        of_key: dict[tuple[str, str], list[Posted]] = defaultdict(list)
        for each in self.posted:
            if each.key is None:
                _check(each, counts, each.first, each.first + each.unknown)
            else:
                of_key[each.line, each.key].append(each)
        for group in of_key.values():
            if len(group) == 1 and group[0].refused:
                raise SimulationError(f"the key {group[0].key} is of nothing else, and is answered by 409")
            lives = _lives(sorted(at_ms for each in group for at_ms in each.begun_ms))
            for each in group:
                least = max(each.first, int(each.repeated > 0))
                _check(each, counts, least, min(lives, each.first + each.unknown))
            taken = sum(max(counts[sent.record.data] for sent in each.events) for each in group)
            if taken > lives:
                raise SimulationError(
                    f"batches of other content were taken under the key {group[0].key}: {taken}"
                )
            self._branches["collector: forgotten, and counted again"] += taken > 1
        self._branches["collector: without a key, counted twice"] += sum(
            each.key is None and counts[each.events[0].record.data] > 1 for each in self.posted
        )

    def _begin(self, number: int, seed: int) -> None:
        """Send the batch of that number for the first time; perhaps another one under its key beside it."""
        rng = random.Random(seed)
        line = rng.choice(LINES)
        key = rng.choice(("envelope", "header", "query", "header", ""))
        posted = self._draw(number, rng, line, key)
        if key and self._dice.strikes("key_reused"):
            self._rivals += 1
            rival = self._draw(number, rng, line, key, content=self._rivals)
            delay_ms = self._dice.of("key_reused").choice((0, 20, 2_000, 30_000))
            self._scheduler.after(delay_ms, partial(self._attempt, rival))
        self._attempt(posted)

    def _draw(
        self, number: int, rng: random.Random, line: str, key: str, content: int | None = None
    ) -> Posted:
        """Return the batch of that number; under its key those of another line, and of another way to say it, are others."""
        first = 1_000 * (number if content is None else content)
        events = tuple(
            draw_collected(rng, first + at, self._scheduler.now_ms, devices=self._plan.devices)
            for at in range(rng.choice((1, 1, 2, 3, 6)))
        )
        for each in events:
            self._tally.sent(each)
        broken = int(bool(key) and rng.random() < 0.2)
        objects: list[Any] = [{"source": each.source, **(each.event or {})} for each in events]
        objects += [{"source": "nobody"}] * broken
        name = f"k{number // 2}"
        posted = Posted(
            line, f"{key} {name}" if key else None, _asked(objects, key, name), events, broken, rng
        )
        self.posted.append(posted)
        return posted

    def _attempt(self, posted: Posted) -> None:
        """Send it, unless it is over by now."""
        if not posted.is_over:
            self._send(posted)

    def _send(self, posted: Posted) -> None:
        if len(posted.begun_ms) >= _MOST_ATTEMPTS:
            posted.is_over = True
            return
        posted.begun_ms.append(self._scheduler.now_ms)
        if self._dice.strikes("post_again"):  # this one is on its way, and may end before it or behind
            delay_ms = self._dice.of("post_again").choice((0, 1, 30, 3_000))
            self._scheduler.after(delay_ms, partial(self._send, posted))
        presented = self._keys.presented(posted.line, posted.dice, newest=posted.is_unauthorized)
        asked = posted.asked
        headers = {**asked.headers, "authorization": f"Bearer {presented}"}
        self.host.take(replace(asked, headers=headers), partial(self._answered, posted))

    def _answered(self, posted: Posted, answer: Answer | None) -> None:
        """Take note of what the collector answered, and do what the client does who hears of it, or does not."""
        status = 0 if answer is None else answer.status
        if answer is None or status == 503:
            posted.unknown += 1
        elif status == 200:
            self._accepted(posted, json.loads(answer.body))
        elif status == 409 and posted.key is not None:
            posted.refused += 1
            self._branches["collector: refused, the key is of other content"] += 1
        elif status == 401:
            posted.is_unauthorized = True
        else:
            raise SimulationError(f"a batch is answered by {status}: {answer.body.decode()}")
        if posted.is_over:
            return
        is_heard = status in (200, 409) and not self._dice.strikes("post_unanswered")
        posted.is_over = is_heard or self._dice.strikes("client_left")
        if not posted.is_over:
            self._scheduler.after(self._pause_ms(posted), partial(self._attempt, posted))

    def _accepted(self, posted: Posted, told: Mapping[str, Any]) -> None:
        if (told["accepted"], len(told["refused"])) != (len(posted.events), posted.broken):
            raise SimulationError(f"{len(posted.events)} events fit, {posted.broken} do not: it says {told}")
        if told["repeated"]:
            posted.repeated += 1
            is_later = self._scheduler.now_ms - posted.begun_ms[0] > HOUR_MS
            self._branches["collector: came back after a day, and was known"] += is_later
        else:
            posted.first += 1
        for each in posted.events:
            self._tally.accepted(each)

    def _pause_ms(self, posted: Posted) -> int:
        if self._dice.strikes("client_back"):
            days = self._dice.of("client_back").choice((1, 1, 5))
            return days * 24 * HOUR_MS - self._dice.of("client_back").randrange(2 * HOUR_MS)
        return posted.dice.choice((20, 500, 5_000))

    def _rotate(self, line: str) -> None:
        if self._dice.strikes("key_rotated"):
            self._keys.rotate(line, self._scheduler.now_ms)


def _asked(objects: Sequence[Any], key: str, name: str) -> Asked:
    """Return the request with *objects* as its body, whose key is said in one of three ways."""
    headers, query = {"content-type": "application/json"}, ""
    body: Any = objects if len(objects) > 1 else objects[0]
    if key == "envelope":
        body = {"client": "c", "batch": int(name[1:]), "events": objects}
        headers["content-type"] = "text/plain"  # a beacon's
    elif key == "header":
        headers["idempotency-key"] = name
    elif key == "query":
        query = f"idempotency_key={quote(name + '?')}"
    return Asked("POST", EVENTS, query, headers, json.dumps(body).encode())


def _lives(begun_ms: Sequence[int]) -> int:
    """Return how often a key may have been taken: once, and once more for each time that it may have been forgotten."""
    lives, since_ms = 0, 0
    for at_ms in begun_ms:
        if not lives or at_ms - since_ms > _REMEMBERED_MS:
            lives, since_ms = lives + 1, at_ms
    return lives


def _check(posted: Posted, counts: Counter[bytes], least: int, most: int) -> None:
    for sent in posted.events:
        if not least <= (count := counts[sent.record.data]) <= most:
            raise SimulationError(
                f"an event of the batch {posted.line}, {posted.key} counts {count} times, not {least} to {most}: of "
                f"{len(posted.begun_ms)} requests {posted.first} were answered as the first, {posted.repeated} as repeats, "
                f"{posted.refused} by 409, {posted.unknown} by 503 or not"
            )
