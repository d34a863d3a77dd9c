"""What a collector has done so far, for its metrics; and why the last batch was not kept."""

import threading
from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """Counts since it began. ``failure`` is the last reason of a 503, for a log: a client is not told."""

    requests: Counter[tuple[str, int]] = field(default_factory=Counter)
    accepted: int = 0
    refused: int = 0
    repeated: int = 0
    bytes: int = 0
    failure: str | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count_request(self, route: str, status: int) -> None:
        """Count an answer."""
        with self._lock:
            self.requests[route, status] += 1

    def count_events(self, accepted: int, refused: int, *, repeated: bool) -> None:
        """Count the events of a request that was judged, and kept, now or before."""
        with self._lock:
            self.refused += refused
            if repeated:
                self.repeated += accepted
            else:
                self.accepted += accepted

    def take_failure(self) -> str | None:
        """Return the last failure, once."""
        failure, self.failure = self.failure, None
        return failure

    def text(self) -> str:
        """Return it in Prometheus' text format."""
        with self._lock:
            requests = sorted(self.requests.items())
            counts = (
                ("events_accepted", "Events that were made durable.", self.accepted),
                (
                    "events_refused",
                    "Events that fit no source, or not their schema; their senders were told.",
                    self.refused,
                ),
                ("events_repeated", "Events of batches that came again, and count once.", self.repeated),
                ("body_bytes", "Bytes of bodies, as they came.", self.bytes),
            )
        lines = [
            "# HELP streamgage_collector_requests_total Answers, by route and status.",
            "# TYPE streamgage_collector_requests_total counter",
        ]
        lines += [
            f'streamgage_collector_requests_total{{route="{route}",status="{status}"}} {count}'
            for (route, status), count in requests
        ]
        for name, says, value in counts:
            full = f"streamgage_collector_{name}_total"
            lines += [f"# HELP {full} {says}", f"# TYPE {full} counter", f"{full} {value}"]
        return "\n".join(lines) + "\n"
