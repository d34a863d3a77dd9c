"""How many different values there were: ExaLogLog, exact while they are few.

A state is a set of tokens, 32 bits of each value's hash, up to 200 of them; beyond that 256 registers of 28 bits, 896 bytes,
into which the same tokens were put. Adding a value again changes nothing, and neither does the order: a state is a function
of the set of values, so unions over windows, keys and lanes are exact unions.

The standard error is 2.3 % of the registers; of tokens an estimate is wrong by one where two of 200 values share their token,
once in a hundred thousand states.

A register holds the greatest *update value* that met it, and which of the 20 below it did. An update value k comes with the
probability 2**-phi(k), phi(k) = min(3 + (k - 1) // 4, 56). The estimate is the n that makes what all registers say most
likely, each of 256 being met by n/256 values on average.

Source: O. Ertl, "ExaLogLog: Space-Efficient and Practical Approximate Distinct Counting up to the Exa-Scale", 2024,
https://arxiv.org/abs/2402.13726 (t = 2, d = 20, p = 8; algorithms 1 to 4 and 8)
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b

MOST_TOKENS = 200
STANDARD_ERROR = 0.0227
"""Of the registers: sqrt(3.67 / (256 * 28))."""
REGISTERS = 256
_T, _D, _P = 2, 20, 8
_PHI_MOST = 64 - _P
_MOST_VALUE = (64 - _P - _T + 1) << _T
_TOKEN_BITS = 26  # of the hash's low end; the other six say how many zeros it begins with
_LOW = (1 << _TOKEN_BITS) - 1
_REGISTER_BYTES = REGISTERS * (6 + _T + _D) // 8
_REMEMBERED, _LONG = 50_000, 1_000  # values, and bytes of a text that is not remembered

Distinct = frozenset[int] | tuple[int, ...]
"""A state: a set of tokens, or all registers."""

EMPTY: Distinct = frozenset()


class Tokens(dict[str | int, int]):
    """``tokens[value]``: 32 bits of the hash of a text, or of a number at its field's scale. Values come again: remembered."""

    def __missing__(self, value: str | int) -> int:
        kind = b"t" if type(value) is str else b"n"
        text = str(value).encode("utf-8", "surrogatepass")
        token = token_of(int.from_bytes(blake2b(kind + text, digest_size=8).digest(), "big"))
        if len(text) > _LONG:
            return token
        if len(self) >= _REMEMBERED:
            self.clear()
        self[value] = token
        return token


def token_of(value_hash: int) -> int:
    """Return the token of 64 bits: the low 26, and how many zeros the others begin with."""
    zeros = 64 - _TOKEN_BITS - (value_hash >> _TOKEN_BITS).bit_length()
    return (value_hash & _LOW) << 6 | zeros


def of_tokens(tokens: Iterable[int]) -> Distinct:
    """Return the state of a set of *tokens*."""
    known = frozenset(tokens)
    return known if len(known) <= MOST_TOKENS else tuple(_put([0] * REGISTERS, known))


def merged(states: Sequence[Distinct]) -> Distinct:
    """Return the union."""
    if len(states) == 1:
        return states[0]
    tokens = frozenset[int]().union(*(each for each in states if isinstance(each, frozenset)))
    dense = [each for each in states if isinstance(each, tuple)]
    if not dense:
        return of_tokens(tokens)
    registers = list(dense[0])
    for other in dense[1:]:
        registers = list(map(_joined, registers, other))
    return tuple(_put(registers, tokens))


def _put(registers: list[int], tokens: Iterable[int]) -> list[int]:
    for token in tokens:
        low, zeros = token >> 6, token & 63
        at = low >> _T & REGISTERS - 1
        # What lies between the 26 bits and the register's is known; above it there are zeros, and a one.
        rest = low >> _T + _P
        width = _TOKEN_BITS - _T - _P
        most = 64 - _TOKEN_BITS
        leading = zeros if zeros < most else most + width - rest.bit_length()
        value = (min(leading, _PHI_MOST - _T) << _T) + (low & (1 << _T) - 1) + 1
        registers[at] = _met(registers[at], value)
    return registers


def _met(register: int, value: int) -> int:
    """Return *register* after the update *value*."""
    ahead = value - (register >> _D)
    if ahead > 0:
        return value << _D | _shifted(register, ahead)
    return register | 1 << _D + ahead if _D + ahead >= 0 and ahead else register


def _shifted(register: int, by: int) -> int:
    """Return what *register* says of the values below one that is greater than its own by *by*."""
    return ((1 << _D) + (register & (1 << _D) - 1)) >> by if register else 0


def _joined(one: int, other: int) -> int:
    if one >> _D < other >> _D:
        one, other = other, one
    ahead = (one >> _D) - (other >> _D)
    if not other:
        return one
    return one | _shifted(other, ahead) if ahead else one | other


def estimate(state: Distinct) -> int:
    """Return about how many different values *state* is of."""
    return len(state) if isinstance(state, frozenset) else round(REGISTERS * _likeliest(*_said(state)))


def _said(registers: Sequence[int]) -> tuple[float, dict[int, int]]:
    """Return what no register met, as a sum of probabilities; and how many values were met of each exponent."""
    missed = 0.0
    met: Counter[int] = Counter()
    for register, times in Counter(registers).items():
        greatest = register >> _D
        missed += times * _beyond(greatest)
        if not greatest:
            continue
        met[_phi(greatest)] += times
        for below in range(1, min(_D, greatest - 1) + 1):
            exponent = _phi(greatest - below)
            if register >> _D - below & 1:
                met[exponent] += times
            else:
                missed += times * 2.0**-exponent
    return missed, met


def _phi(value: int) -> int:
    return min(_T + 1 + (value - 1 >> _T), _PHI_MOST)


@lru_cache(maxsize=256)
def _beyond(greatest: int) -> float:
    """Return the probability of an update value above *greatest*."""
    return math.fsum(2.0 ** -_phi(value) for value in range(greatest + 1, _MOST_VALUE + 1))


def _likeliest(missed: float, met: dict[int, int]) -> float:
    """Return the x where ``sum(met[j] * 2**-j / (exp(x * 2**-j) - 1)) = missed``: the left side falls with x."""
    if not met:
        return 0.0

    def excess(x: float) -> float:
        return (
            math.fsum(times * 2.0**-j / math.expm1(min(x * 2.0**-j, 700)) for j, times in met.items())
            - missed
        )

    low, high = 0.0, 1.0
    while excess(high) > 0 and high < 2.0**64:
        low, high = high, high * 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return high


def pack_registers(registers: Sequence[int]) -> bytes:
    """Return the registers in 896 bytes: 28 bits each, the first one lowest."""
    value = 0
    for register in reversed(registers):
        value = value << 28 | register
    return value.to_bytes(_REGISTER_BYTES, "little")


def unpack_registers(data: bytes) -> tuple[int, ...]:
    """Return the registers that ``pack_registers`` wrote. Raises: ValueError, they are not so many bytes."""
    if len(data) != _REGISTER_BYTES:
        raise ValueError(f"{len(data)} bytes are not {REGISTERS} registers")
    value = int.from_bytes(data, "little")
    return tuple(value >> 28 * at & (1 << 28) - 1 for at in range(REGISTERS))
