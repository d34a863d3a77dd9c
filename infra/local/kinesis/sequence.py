"""Sequence numbers: 56 digits, in the layout of AWS's version 2, which the KCL takes apart.

Counted in bits from the lowest::

    184  the constant 2, which also fixes the length to 56 digits
    148  36 bits: the shard's epoch, seconds; a child's is above its parents'
    144   4 bits: the low bits of the shard's index
     80  64 bits: the counter, which grows within the shard
     72   8 bits: zero
     36  36 bits: arrival, seconds
      4  32 bits: the shard's index
      0   4 bits: the version, 2

Source of the offsets: SequenceNumberValidator of the KCL (version at 184, shard at 4).

The counter is a hybrid of clock and count: ``arrival_ms << 20 | n``. So it grows with time, it never repeats
after a restart even where a power cut lost the last records, and one index answers both "from this sequence
number" and "from this time".
"""

from dataclasses import dataclass

COUNTER_MAX = 2**63 - 1  # the top bit stays clear; a closed shard's ending number has all others set
_TICK_BITS = 20


def counter_floor(arrival_ms: int) -> int:
    """Return the smallest counter of a record that arrives at *arrival_ms* or later."""
    return max(0, arrival_ms) << _TICK_BITS


def arrival_ms(counter: int) -> int:
    """Return when the record with this counter arrived, in ms since the epoch."""
    return counter >> _TICK_BITS


@dataclass(frozen=True, slots=True)
class SequenceSpace:
    """The sequence numbers of one shard; its order is the order of counters."""

    epoch_s: int
    shard_index: int

    @property
    def _frame(self) -> int:
        index = self.shard_index
        return 2 << 184 | self.epoch_s << 148 | (index & 15) << 144 | index << 4 | 2

    @property
    def first(self) -> int:
        """The shard's StartingSequenceNumber, below every record's."""
        return self._frame | self.epoch_s << 36

    def last(self, closed_ms: int) -> int:
        """Return the EndingSequenceNumber of a shard closed at *closed_ms*, above every record's."""
        return self._frame | COUNTER_MAX << 80 | closed_ms // 1000 << 36

    def number(self, counter: int) -> int:
        """Return the sequence number of the record with this counter."""
        return self._frame | counter << 80 | (counter >> _TICK_BITS) // 1000 << 36

    def numbers(self, first_counter: int, count: int) -> list[int]:
        """Return the sequence numbers of *count* consecutive counters."""
        frame = self._frame
        return [
            frame | counter << 80 | (counter >> _TICK_BITS) // 1000 << 36
            for counter in range(first_counter, first_counter + count)
        ]

    def counter_from(self, sequence_number: int, *, after: bool) -> int | None:
        """Return the smallest counter at (or after) a sequence number, or None where it is another shard's."""
        if sequence_number >> 148 != self._frame >> 148 or sequence_number & (2**36 - 1) != self._frame & (
            2**36 - 1
        ):
            return None
        counter = sequence_number >> 80 & (2**64 - 1)
        if counter > COUNTER_MAX:
            return None
        exact = self.number(counter)
        if sequence_number > exact or (after and sequence_number == exact):
            counter += 1
        return counter


def parse_shard_index(sequence_number: int) -> int | None:
    """Return the index of the shard that a sequence number names, or None where its layout is another."""
    if sequence_number >> 184 != 2 or sequence_number & 15 != 2:
        return None
    return sequence_number >> 4 & (2**32 - 1)
