"""A queue of SQS and a bucket of S3 behind one loopback port, and the lean quarantine over them."""

import json
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from threading import Lock
from urllib.parse import unquote

from conftest import REGION
from processors.awsjson.signing import Signer
from processors.quarantine.bulk import decode_bulk
from processors.quarantine.message import BulkRef, decode_message
from processors.quarantine.objects import BucketPlace, S3Objects
from processors.quarantine.queue import TARGET, LeanQuarantine
from streamgage.limits import SQS_BATCH_BYTES, SQS_BATCH_ENTRIES
from streamgage.reading.poison import Poison
from support.lean_server import CREDENTIALS, NOW_S, FakeTime, Reply, Request, Service, client_of, serving

BUCKET = "failed-batches"
QUEUE_URL = "http://127.0.0.1/q"


def s3_error(code: str, status: int) -> Reply:
    """Return S3's answer to what it refuses."""
    text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>because {code}</Message></Error>"
    return Reply.of(text.encode(), status=status)


@dataclass
class FakeCloud:
    """SendMessageBatch with its limits, and PutObject, over a list and a dict.

    The next ``refuse`` entries fail by themselves; the next PutObject meet what ``s3_answers`` holds.
    """

    messages: list[str] = field(default_factory=list)
    objects: dict[str, bytes] = field(default_factory=dict)
    batches: list[int] = field(default_factory=list)
    puts: int = 0
    refuse: int = 0
    s3_answers: deque[Reply] = field(default_factory=deque)
    _lock: Lock = field(default_factory=Lock)

    def __call__(self, request: Request) -> Reply:
        """Answer one request."""
        with self._lock:
            return self._put(request) if request.line.startswith("PUT ") else self._send(request)

    def _put(self, request: Request) -> Reply:
        _, path, _ = request.line.split(" ")
        bucket, _, key = unquote(path[1:]).partition("/")
        assert (bucket, request.headers["content-type"]) == (BUCKET, "application/gzip")
        assert request.headers["x-amz-content-sha256"] == sha256(request.body).hexdigest()
        assert request.headers["authorization"].startswith("AWS4-HMAC-SHA256 ")
        self.puts += 1
        if self.s3_answers:
            return self.s3_answers.popleft()
        self.objects[key] = request.body
        return Reply.of(b"")

    def _send(self, request: Request) -> Reply:
        assert request.operation == "SendMessageBatch"
        assert request.json["QueueUrl"] == QUEUE_URL
        entries = request.json["Entries"]
        assert 1 <= len(entries) <= SQS_BATCH_ENTRIES
        assert sum(len(each["MessageBody"].encode()) for each in entries) <= SQS_BATCH_BYTES
        assert len({each["Id"] for each in entries}) == len(entries)
        self.batches.append(len(entries))
        refused, kept = entries[: self.refuse], entries[self.refuse :]
        self.refuse -= len(refused)
        self.messages += [each["MessageBody"] for each in kept]
        failed = [{"Id": each["Id"], "Code": "InternalError", "SenderFault": False} for each in refused]
        return Reply.of(json.dumps({"Failed": failed} if failed else {"Successful": []}).encode())

    def kept(self) -> list[Poison]:
        """Return all that the messages hold or point to, repeats too."""
        found: list[Poison] = []
        for message in self.messages:
            held = decode_message(message)
            if isinstance(held, BulkRef):
                assert held.bucket == BUCKET
                inside = list(decode_bulk(self.objects[held.key]))
                assert len(inside) == held.poison
                found += inside
            else:
                found.append(held)
        return found


@contextmanager
def lean_quarantine(
    cloud: FakeCloud, time: FakeTime | None = None
) -> Iterator[tuple[LeanQuarantine, Service]]:
    """Give the quarantine over *cloud*, while it is served; its clock is that of *time*."""
    policy = (time or FakeTime()).policy()
    with serving(cloud) as service:
        client = client_of(service, target=TARGET, policy=policy)
        place = BucketPlace.of(BUCKET, {"AWS_ENDPOINT_URL": service.url})
        objects = S3Objects(
            BUCKET,
            place=place,
            signer=Signer(service="s3", region=REGION),
            credentials=lambda _: CREDENTIALS,
            policy=policy,
            now_s=lambda: NOW_S,
        )
        with closing(client), closing(objects):
            yield LeanQuarantine(client, QUEUE_URL, objects=lambda: objects), service
