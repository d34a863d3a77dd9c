"""Open pages without a browser: clients that ask what processors/live/web asks, as often, each over a connection it keeps.

Each hears by a WebSocket what changed, and asks for that; without news it asks every half minute. A question rests four times
as long as its answer took, and longer where it was too many (429), so what is asked falls where answers slow down.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from random import random
from typing import Any
from urllib.parse import urlencode, urlsplit

from wsproto.connection import CLIENT
from wsproto.connection import Connection as WebSocket
from wsproto.events import TextMessage

from support.machine import PATIENCE_S
from support.sockets import handshake

SHARE, QUIET_S, BUSY_S = 4, 30.0, 1.0  # processors/live/web/feed.js
ANY = "*"


@dataclass(frozen=True, slots=True)
class Watch:
    """A question that is asked every *every_s*: its path, and its parameters as of an instant.

    ``of``: the rollup whose changes it is asked for after, or ANY; *eager*: at once. "": it moves with the clock.
    """

    path: str
    every_s: float
    of: str = ""
    quiet_s: float = QUIET_S
    eager: bool = False
    parameters: Callable[[float], Mapping[str, str]] = lambda _: {}
    is_lines: bool = False  # what the charts follow

    def target(self, now_s: float) -> str:
        """Return what is asked for at *now_s*."""
        asked = urlencode(self.parameters(now_s))
        return f"{self.path}?{asked}" if asked else self.path


@dataclass
class Answers:
    """What came of all questions. ``seen`` hears each answer with a body: which page's, of which watch, and what it says.

    ``heard`` hears each piece of news: which page's, and of which rollups.
    """

    seen: Callable[[int, Watch, Any], None] = lambda *_: None
    heard: Callable[[int, frozenset[str]], None] = lambda *_: None
    took_s: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)

    def note(self, status: int, took_s: float) -> None:
        """Count one."""
        self.took_s.append(took_s)
        self.statuses[status] = self.statuses.get(status, 0) + 1

    def __str__(self) -> str:
        """Return how many came with which status, and how long they took."""
        took, total = spread(self.took_s), sum(self.statuses.values())
        return f"{total} answers, {self.statuses.get(304, 0) / max(total, 1):.0%} of them 304, {self.statuses}; {took}"


def spread(values_s: Sequence[float]) -> str:
    """Return p50, p99 and the greatest."""
    ordered = sorted(values_s) or [0.0]
    p50, p99 = (ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.99))
    return f"p50 {p50:.3f} s, p99 {p99:.3f} s, at most {ordered[-1]:.3f} s"


def page_watches(rollup: str, lines: Sequence[tuple[str, str]], rates: Mapping[str, str]) -> list[Watch]:
    """Return what an open page asks that shows the *lines* of *rollup*, which are a device and metric each, by the minute.

    *rates* has the smallest window of each rollup there is.
    """
    path = f"/v1/rollups/{rollup}"
    where = " or ".join(
        f"(\"device_id\" = '{device}' and \"metric\" = '{metric}')" for device, metric in lines
    )

    def changing(now_s: float) -> Mapping[str, str]:
        return {"window": "1m", "from": _window_before(now_s, "1m"), "where": where, "limit": "10000"}

    def rate(window: str, now_s: float) -> Mapping[str, str]:
        return {"window": window, "from": _window_before(now_s, window), "group_by": ""}

    def first(by: str, _: float) -> Mapping[str, str]:
        return {"window": "1m", "from": "1h", "by": by, "n": "5"}

    return [
        Watch("/v1/status", 2, ANY, quiet_s=10),
        Watch(f"{path}/range", 2, rollup, eager=True, parameters=changing, is_lines=True),
        *(
            Watch(f"/v1/rollups/{each}/range", 4, each, parameters=partial(rate, window))
            for each, window in rates.items()
        ),
        *(Watch(f"{path}/top", 4, rollup, parameters=partial(first, by)) for by in ("events", "value.sum")),
        Watch(f"{path}/silent", 15, parameters=lambda _: {"for": "5m", "limit": "8"}),
    ]


_SIZES_S = {"1m": 60, "1h": 3_600, "1d": 86_400}


async def open_pages(
    base: str, watches: Sequence[Watch], *, pages: int, answers: Answers, until_s: float
) -> None:
    """Keep *pages* open until the monotonic *until_s*; they were opened one after the other, two seconds long."""
    await asyncio.gather(
        *(
            _page(base, watches, number, after_s=2 * number / pages, answers=answers, until_s=until_s)
            for number in range(pages)
        )
    )


async def ask_at_rate(
    base: str, targets: Sequence[str], *, per_s: float, answers: Answers, until_s: float
) -> None:
    """Ask *targets* in turn, *per_s* a second whatever the answers take, each over a connection of its own."""
    asked, number, next_s = set[asyncio.Task[None]](), 0, time.monotonic()
    while next_s < until_s:
        await asyncio.sleep(max(next_s - time.monotonic(), 0))
        task = asyncio.create_task(_once(base, targets[number % len(targets)], answers))
        asked.add(task)
        task.add_done_callback(asked.discard)
        number, next_s = number + 1, next_s + 1 / per_s
    await asyncio.gather(*asked)


async def _page(
    base: str, watches: Sequence[Watch], page: int, *, after_s: float, answers: Answers, until_s: float
) -> None:
    await asyncio.sleep(after_s)
    connection, heard = Connection(base), _Heard(watches)
    listener = asyncio.create_task(_listen(base, heard, lambda rollups: answers.heard(page, rollups)))
    due, known = dict.fromkeys(watches, time.monotonic()), dict[Watch, tuple[str, str]]()
    asked_s = dict.fromkeys(watches, float("-inf"))
    try:
        while time.monotonic() < until_s:
            watch = min(due, key=lambda each: due[each])
            if due[watch] > time.monotonic():
                await heard.anything(min(due[watch], until_s) - time.monotonic())
                for each in (
                    heard.eager()
                ):  # what was asked for shall not be asked sooner than its answer lets it rest
                    due[each] = min(due[each], max(time.monotonic(), heard.rests_s.get(each, 0)))
                continue
            is_quiet = heard.is_open and watch.of and watch not in heard.stale
            if is_quiet and time.monotonic() < asked_s[watch] + watch.quiet_s:
                due[watch] = time.monotonic() + watch.every_s
                continue
            heard.stale.discard(watch)
            target, began_s = watch.target(time.time()), time.monotonic()
            asked_s[watch] = began_s
            status, headers, body = await _patiently(
                connection,
                target,
                known[watch][1] if watch in known and known[watch][0] == target else "",
                heard.since_ms,
                answers,
            )
            took_s = time.monotonic() - began_s
            answers.note(status, took_s)
            if status == 200:
                known[watch] = target, headers["etag"]
                answers.seen(page, watch, json.loads(body))
            heard.rests_s[watch] = time.monotonic() + SHARE * took_s
            due[watch] = time.monotonic() + max(watch.every_s, SHARE * took_s)
            if watch.eager and watch in heard.stale:
                due[watch] = heard.rests_s[watch]
    finally:
        connection.close()
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)


async def _patiently(
    connection: "Connection", target: str, etag: str, since_ms: int, answers: Answers
) -> tuple[int, dict[str, str], bytes]:
    """Ask, and where that was too many, again and again, ever later."""
    for turn in range(5):
        status, headers, body = await connection.ask(target, etag, since_ms)
        if status != 429:
            break
        answers.statuses[429] = answers.statuses.get(429, 0) + 1
        await asyncio.sleep(BUSY_S * 2**turn * (1 + random()))
    return status, headers, body


class _Heard:
    """What one page has heard of: which of its *watches* are stale, and until when each rests."""

    def __init__(self, watches: Sequence[Watch]) -> None:
        self.is_open, self.stale, self.rests_s = False, set(watches), dict[Watch, float]()
        self.since_ms = 0
        self._watches, self._said = watches, asyncio.Event()

    def opened(self) -> None:
        self.is_open, self.stale = True, set(self._watches)

    def changed(self, rollups: frozenset[str], since_ms: int) -> None:
        self.since_ms = since_ms
        self.stale |= {each for each in self._watches if each.of in rollups or each.of == ANY}
        self._said.set()

    def eager(self) -> list[Watch]:
        return [each for each in self.stale if each.eager]

    async def anything(self, seconds: float) -> None:
        """Wait until something is said, or so long."""
        self._said.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._said.wait(), max(seconds, 0))


async def _listen(base: str, heard: _Heard, told: Callable[[frozenset[str]], None]) -> None:
    """Hear by a WebSocket what changes of what is watched, until cancelled."""
    url, wire = urlsplit(base), WebSocket(CLIENT)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    try:
        writer.write(handshake(url.port or 80, f"{url.path}/live"))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        rollups = sorted({each.of for each in heard.stale} - {"", ANY})
        writer.write(wire.send(TextMessage(json.dumps({"action": "subscribe", "rollups": rollups}))))
        text = ""
        while data := await reader.read(65_536):
            wire.receive_data(data)
            for event in wire.events():
                if not isinstance(event, TextMessage):
                    continue
                text += event.data
                if event.message_finished:
                    said, text = json.loads(text), ""
                    if "subscribed" in said:
                        heard.opened()
                    changed = frozenset(each["rollup"] for each in said.get("changed", ()))
                    if changed:
                        heard.changed(changed, said["now_ms"])
                        told(changed)
    finally:
        heard.is_open = False
        writer.close()


async def _once(base: str, target: str, answers: Answers) -> None:
    connection, began_s = Connection(base), time.monotonic()
    try:
        status, _, _ = await connection.ask(target)
        answers.note(status, time.monotonic() - began_s)
    finally:
        connection.close()


class Connection:
    """One connection to *base*, which is kept; opened again where it was closed between two questions."""

    def __init__(self, base: str) -> None:
        self._url = urlsplit(base)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, target: str, etag: str = "", since_ms: int = 0) -> tuple[int, dict[str, str], bytes]:
        """Return the status, the headers (lower case) and the body of *target*, if it is not as *etag* says.

        An answer of another page is taken where it is young, as the page's watches take it.
        """
        for is_last in (False, True):
            try:
                return await asyncio.wait_for(self._ask(target, etag, since_ms), PATIENCE_S)
            except (ConnectionError, asyncio.IncompleteReadError):
                self.close()
                if is_last:
                    raise
        raise AssertionError("unreachable")

    async def _ask(self, target: str, etag: str, since_ms: int) -> tuple[int, dict[str, str], bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._url.hostname, self._url.port)
        reader, writer = self._streams
        known = f"If-None-Match: {etag}\r\n" if etag else ""
        known += f"Streamgage-Since-Ms: {since_ms}\r\n"
        writer.write(
            f"GET {self._url.path}{target} HTTP/1.1\r\nHost: {self._url.netloc}\r\nAccept: application/json\r\nCache-Control: max-age=1\r\n{known}\r\n".encode()
        )
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (each.partition(":") for each in head[1:] if each)
        }
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        return int(head[0].split(" ")[1]), headers, body

    def close(self) -> None:
        """Close it, if it is open."""
        if self._streams is not None:
            with suppress(ConnectionError):
                self._streams[1].close()
        self._streams = None


def _window_before(now_s: float, window: str) -> str:
    """Return when the window before that of *now_s* begins."""
    begin_s = (now_s // _SIZES_S[window] - 1) * _SIZES_S[window]
    return f"{datetime.fromtimestamp(begin_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
