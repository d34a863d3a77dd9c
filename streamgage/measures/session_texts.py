"""Entry and exit: of each session of a key the text at its first event, or at its last.

A state holds of each session begin, end and that text, in the order of time, with pauses longer than the gap between them.
Of several events at that one instant the least text stands at an entry, the greatest at an exit, by code points: so a state is
a function of the set of events, and an event that comes late and bridges two sessions corrects them, whenever it comes.

A text of more than 96 bytes of UTF-8 stands shortened: as many whole characters as 89 bytes hold, ``…`` and eleven
characters of its hash. That takes more than 96 bytes, so no text is taken for another that is shortened, and of two long
texts that begin alike each is counted for itself.

Over several keys sessions are counted by their texts, never united; over windows of one key they are united.
"""

import json
import re
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from itertools import accumulate, chain, pairwise
from typing import Any

from streamgage.errors import TooMuchError
from streamgage.measures.packing import pack, read_varint, unpack_whole, varint
from streamgage.measures.parts import Column, Groups
from streamgage.measures.sessions import MOST_WITH_TEXTS, parted, unpack_sizes

MOST_TEXT_BYTES = 96
SHOWN = 20
"""Texts that an answer tells one by one, of those with the most sessions."""
MOST_TEXTS = 500_000  # of one answer: some 100 MB
_KEPT_BYTES, _HASH_BYTES = 89, 8
_LONGEST_BYTES = _KEPT_BYTES + 3 + 11  # of a text that is shortened
_SESSION_BYTES = 5 + 5 + 3 + 1 + _LONGEST_BYTES  # begin, length, which text; the text and its length
_HELD_BYTES = 145  # of a session in memory
_REMEMBERED, _LONG = 20_000, 1_000  # texts, and characters of one that is not remembered
_ENCODING = "utf-8", "surrogatepass"  # JSON can say half a character
_HALF = re.compile("[\ud800-\udfff]")

Ends = tuple[tuple[int, int, str], ...]
"""A state: (begin in ms, end in ms, text) of each session."""


def shortened(text: str) -> str:
    """Return *text* as a state has it: what is longer than 96 bytes in UTF-8 shortened to 100 to 103 of them."""
    data = text.encode(*_ENCODING)
    if len(data) <= MOST_TEXT_BYTES:
        return text
    end = _KEPT_BYTES
    while data[end] & 0xC0 == 0x80:  # inside a character
        end -= 1
    told = urlsafe_b64encode(blake2b(data, digest_size=_HASH_BYTES).digest()).rstrip(b"=").decode()
    return f"{data[:end].decode(*_ENCODING)}…{told}"


class _Shortened(dict[str, str]):
    """``shortened`` of texts, which come again: remembered, bounded."""

    def __missing__(self, text: str) -> str:
        short = shortened(text)
        if len(text) > _LONG:
            return short
        if len(self) >= _REMEMBERED:
            self.clear()
        self[text] = short
        return short


def counted(state: Ends | Counter[str]) -> Counter[str]:
    """Return how many sessions have which text."""
    return state if isinstance(state, Counter) else Counter([text for _, _, text in state])


def shown(state: Ends | Counter[str]) -> str:
    """Return the texts with the most sessions and their numbers, and what the others come to, as JSON.

    ``{"top": {"/": 12, "/about": 5}, "others": {"values": 3, "sessions": 4}}``, the most first, of as many the least text.
    """
    counts = counted(state)
    ranked = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    rest = ranked[SHOWN:]
    told: Mapping[str, Mapping[str, int]] = {
        "top": dict(ranked[:SHOWN]),
        "others": {"values": len(rest), "sessions": sum(count for _, count in rest)},
    }
    text = json.dumps(told, ensure_ascii=False, separators=(",", ":"))
    return _HALF.sub(lambda half: f"\\u{ord(half[0]):04x}", text)


class SessionTextsPart:
    """The entries of each key's sessions, or their exits (*is_exit*), by one gap."""

    identity: Ends = ()
    is_timed = True

    def __init__(self, gap_s: int, *, is_exit: bool) -> None:
        self._gap_ms, self._is_exit = gap_s * 1000, is_exit
        self._short = _Shortened()

    @property
    def most_bytes(self) -> int:
        """How many bytes the most sessions take that a key may have."""
        return MOST_WITH_TEXTS * _SESSION_BYTES

    def most_bytes_in(self, size_ms: int) -> int:
        """Return how many bytes the sessions of a window of *size_ms* take at most."""
        return min(size_ms // self._gap_ms + 1, MOST_WITH_TEXTS) * _SESSION_BYTES + 2

    def held_bytes(self, column: Column) -> int:
        """Return about how many bytes the states of *column* take in memory."""
        return sum(map(len, column)) * _HELD_BYTES

    def fold(self, groups: Groups) -> Column:
        """Return the sessions of each group."""
        texts = self._short.__getitem__
        return [
            self._of_events(sorted(zip(times, map(texts, values), strict=True)))  # type: ignore[arg-type]  # texts
            for values, times in zip(groups.values, groups.times, strict=True)
        ]

    def _of_events(self, events: Sequence[tuple[int, str]]) -> Ends:
        """Return the sessions of *events*, in the order of time and text."""
        gap_ms, text_at = self._gap_ms, -1 if self._is_exit else 0
        if not events:
            return ()
        if events[-1][0] - events[0][0] <= gap_ms:
            return ((events[0][0], events[-1][0], events[text_at][1]),)
        ends = [at for at, (one, two) in enumerate(pairwise(events), 1) if two[0] - one[0] > gap_ms]
        runs = [events[first:last] for first, last in pairwise((0, *ends, len(events)))]
        return tuple([(run[0][0], run[-1][0], run[text_at][1]) for run in runs])

    def join(self, column: Column, picks: Sequence[Sequence[int]]) -> Column:
        """Return the unions over windows of one key, or lanes."""
        return [self._merged([column[at] for at in pick]) for pick in picks]

    def across(self, column: Column, picks: Sequence[Sequence[int]]) -> Column:
        """Return how many sessions of several keys have which text. Raises: TooMuchError, they are too many texts."""
        return [_sum([column[at] for at in pick]) for pick in picks]

    def merge(self, known: Sequence[Any], later: Sequence[Any]) -> Column:
        """Unite; what was counted is added."""
        return [self._merged((old, new)) for old, new in zip(known, later, strict=True)]

    def _merged(self, states: Sequence[Any]) -> Any:
        some = [each for each in states if each]
        if len(some) < 2:
            return some[0] if some else ()
        if any(isinstance(each, Counter) for each in some):
            return _sum(some)
        return self._united(sorted(chain.from_iterable(some)))

    def _united(self, spans: Sequence[tuple[int, int, str]]) -> Ends:
        """Return *spans*, in the order of their beginnings, those together that no longer pause parts."""
        found: list[tuple[int, int, str]] = []
        begin, end, text = spans[0]
        for start, stop, each in spans[1:]:
            if start - end > self._gap_ms:
                found.append((begin, end, text))
                begin, end, text = start, stop, each
                continue
            if self._is_exit:
                text = max((end, text), (stop, each))[1]
            elif start == begin:
                text = min(text, each)
            end = max(end, stop)
        return (*found, (begin, end, text))

    def pack(self, column: Sequence[Ends], *, start_ms: int) -> bytes:
        """Return *column*: numbers of sessions; their begins and lengths; the different texts; which each has."""
        every = list(chain.from_iterable(column))
        texts = sorted({text for _, _, text in every})
        places = {text: place for place, text in enumerate(texts)}
        written = [text.encode(*_ENCODING) for text in texts]
        return b"".join(
            (
                pack(list(map(len, column))),
                pack([begin - start_ms for begin, _, _ in every]),
                pack([end - begin for begin, end, _ in every]),
                varint(len(texts)),
                pack(list(map(len, written))),
                *written,
                pack([places[text] for _, _, text in every]),
            )
        )

    def unpack(
        self, data: bytes, at: int, count: int, *, start_ms: int, rows: Sequence[int] | None = None
    ) -> tuple[Column, int]:
        """Return what ``pack`` wrote, of *rows* alone where they are given, and where it ends.

        Raises:
            ValueError, IndexError: it is damaged.
        """
        sizes, at = unpack_sizes(data, at, count, most=MOST_WITH_TEXTS)
        wanted = range(count) if rows is None else rows
        of_spans = None if wanted else ()
        begins, at = unpack_whole(data, at, sum(sizes), of_spans)
        lengths, at = unpack_whole(data, at, sum(sizes), of_spans)
        texts, at = _texts(data, at, sum(sizes))
        which, at = unpack_whole(data, at, sum(sizes), of_spans)
        if min(lengths, default=0) < 0 or not all(0 <= each < len(texts) for each in which):
            raise ValueError("a session that ends before it begins, or of a text that is none")
        spans = [
            (start_ms + begin, start_ms + begin + length, texts[place])
            for begin, length, place in zip(begins, lengths, which, strict=True)
        ]
        return parted(spans, sizes, wanted, gap_ms=self._gap_ms), at


def _texts(data: bytes, at: int, most: int) -> tuple[list[str], int]:
    """Return the texts at *at* of *data*, *most* of them, and where they end."""
    number, at = read_varint(data, at)
    if number > most:
        raise ValueError("more texts than sessions")
    sizes, at = unpack_whole(data, at, number)
    if not all(0 <= each <= _LONGEST_BYTES for each in sizes) or at + sum(sizes) > len(data):
        raise ValueError("a text that is too long, or cut off")
    bounds = pairwise(accumulate(sizes, initial=at))
    texts = [data[first:last].decode(*_ENCODING) for first, last in bounds]
    if any(one >= two for one, two in pairwise(texts)):
        raise ValueError("texts that are not in order, or there twice")
    return texts, at + sum(sizes)


def _sum(states: Sequence[Ends | Counter[str]]) -> Counter[str]:
    """Return how many sessions of all *states* have which text."""
    total: Counter[str] = Counter()
    for each in states:
        total.update(counted(each))
        if len(total) > MOST_TEXTS:
            raise TooMuchError(
                f"sessions enter or leave by more than {MOST_TEXTS:,} different values: narrow the question by "
                "name=pattern, by --group-by or by a shorter range, or measure a derived field that has fewer"
            )
    return total
