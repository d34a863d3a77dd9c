"""What a sender's process is told: where to send, and its share of the load. It goes through a pipe, never to a file."""

import json
from dataclasses import asdict, dataclass, field
from typing import Self

from producers.load.events import Share
from producers.load.profile import Profile

LONGEST_MS = 3_600_000
"""The longest latency that is told apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One sender's part. ``endpoint_url``, ``region`` and ``credentials`` are boto3's own where None.

    It counts what the *consumer* counts of the sources; of no *sources*, of all. The totals of what it sent go to the
    file *totals*.
    """

    share: Share
    profile: Profile
    pipeline: str
    consumer: str
    sources: tuple[str, ...]
    stream: str
    totals: str
    give_up_s: float
    endpoint_url: str | None = None
    region: str | None = None
    credentials: tuple[str, str] | None = field(default=None, repr=False)
    one_key_per_record: bool = False

    def line(self) -> str:
        """Return it as a line of JSON."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def of_line(cls, line: str) -> Self:
        """Return what ``line`` made."""
        raw = json.loads(line)
        credentials = raw["credentials"]
        return cls(
            **{
                **raw,
                "share": Share(**raw["share"]),
                "profile": Profile(**raw["profile"]),
                "sources": tuple(raw["sources"]),
                "credentials": None if credentials is None else (credentials[0], credentials[1]),
            }
        )
