"""How much the collector takes of a client, and of all: bytes, events, and how often."""

from dataclasses import dataclass

from producers.collector.message import Refused

_MOST_BUCKETS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What one request may have, and how much may come in a second.

    Attributes:
        body_bytes: of a body as it came; API Gateway takes 10 MB, and hands 6 MB of JSON to a function.
        inflated_bytes: of the same behind Content-Encoding: gzip; of the texts of what is in it, twice as much.
        events: of one request.
        told_bytes: of an answer that says what is refused, as JSON in JSON: Lambda hands out 6 MB.
        key_bytes_per_s: of bodies, of one API key; with a burst of ten seconds.
        all_bytes_per_s: of all keys together.
        requests_per_s: of one API key, with the same burst.
    """

    body_bytes: int = 10_000_000
    inflated_bytes: int = 32 * 1024 * 1024
    events: int = 50_000
    told_bytes: int = 6 * 1024 * 1024 - 128 * 1024
    key_bytes_per_s: int = 20_000_000
    all_bytes_per_s: int = 100_000_000
    requests_per_s: int = 5_000


class Rates:
    """Token buckets, of each API key and of all. One thread at a time: its owner has the lock, or none is needed.

    ``left = min(burst, left + rate * seconds)``; what costs more than is left is refused, and told when there will be enough.
    """

    def __init__(self, bounds: Bounds, *, burst_s: float = 10.0) -> None:
        self._bounds, self._burst_s = bounds, burst_s
        self._buckets: dict[tuple[str, str], list[float]] = {}

    def take(self, key_id: str, size_bytes: int, now_s: float) -> None:
        """Take a request of *size_bytes* of the key *key_id* at *now_s*, of a clock that never runs backwards.

        Raises: Refused, 429 with Retry-After; nothing was taken.
        """
        bounds = self._bounds
        wanted = (
            (("", "bytes"), bounds.all_bytes_per_s, float(size_bytes)),
            ((key_id, "bytes"), bounds.key_bytes_per_s, float(size_bytes)),
            ((key_id, "requests"), bounds.requests_per_s, 1.0),
        )
        if len(self._buckets) > _MOST_BUCKETS:
            self._buckets.clear()
        filled = [(self._filled(name, rate, now_s), rate, cost) for name, rate, cost in wanted]
        wait_s = max((cost - bucket[0]) / rate for bucket, rate, cost in filled)
        if wait_s > 0:
            raise Refused(
                429,
                "more comes by this key, or by all, than is taken: send again later",
                headers={"Retry-After": str(int(wait_s) + 1)},
            )
        for bucket, _, cost in filled:
            bucket[0] -= cost

    def _filled(self, name: tuple[str, str], rate: int, now_s: float) -> list[float]:
        full = rate * self._burst_s
        bucket = self._buckets.setdefault(name, [full, now_s])
        bucket[0] = min(full, bucket[0] + rate * max(now_s - bucket[1], 0))
        bucket[1] = now_s
        return bucket
