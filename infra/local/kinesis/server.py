"""The API over HTTP: bodies decoded, errors and faults as the wire carries them. The serving is ``infra.local.http``'s."""

import json
import os
import ssl
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from infra.local.http.guard import HEALTH, Guard
from infra.local.http.message import HangUp, Limits, Request, Response
from infra.local.http.server import HttpServer
from infra.local.kinesis import sts, wire
from infra.local.kinesis.api import KinesisApi
from infra.local.kinesis.errors import ConnectionLost, KinesisError
from infra.local.kinesis.faults import CALM, Faults


class KinesisServer:
    """One listening socket for an API. Stopping is graceful: what was acknowledged is stored.

    ``may_block``: its storage waits for a disk, so requests are answered by threads, as they are where faults wait.

    Raises:
        ConfigError: the port is taken, or the host is not this machine's.
    """

    def __init__(
        self,
        api: KinesisApi,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        faults: Faults | None = None,
        sleep_s: Callable[[float], None] = time.sleep,
        guard: Guard | None = None,
        may_block: bool = False,
    ) -> None:
        self._api = api
        self._faults = faults
        self._sleep_s = sleep_s
        limits = Limits() if may_block or faults is not None else Limits(workers=0)
        self._server = HttpServer(
            self.respond, name="kinesis", host=host, port=port, tls=tls, guard=guard, limits=limits
        )
        self.start, self.stop = self._server.start, self._server.stop

    @property
    def url(self) -> str:
        """The endpoint, for a client's ``endpoint_url``."""
        return self._server.url

    def respond(self, request: Request) -> Response:
        """Answer one request. Raises: HangUp, where a fault says that the answer is lost."""
        if request.method == "GET":
            return self._health(request.path)
        if request.method != "POST":
            return Response(405, b"POST, as AWS's clients do\n", headers={"Allow": "GET, POST"})
        content_type = request.headers.get("content-type", "").partition(";")[0].strip()
        if content_type == sts.FORM:
            status, body = sts.answer_form(request.body, account=self._api.model.settings.account)
            return _response(status, body, sts.XML)
        if content_type != wire.CBOR:
            content_type = wire.JSON
        try:
            body = wire.encode(content_type, self._act(content_type, request))
        except KinesisError as error:
            return _response(
                error.status,
                wire.encode_error(content_type, error),
                content_type,
                {"x-amzn-ErrorType": error.code},
            )
        except ConnectionLost as lost:
            raise HangUp from lost
        return _response(200, body, content_type)

    def _act(self, content_type: str, request: Request) -> dict[str, Any] | None:
        action = request.headers.get("x-amz-target", "").rpartition(".")[2]
        values = wire.decode(content_type, request.body)
        plan = CALM
        if self._faults is not None:
            records = values.get("Records") if isinstance(values, dict) else None
            plan = self._faults.plan(action, len(records) if isinstance(records, list) else 1)
            if plan.delay_ms:
                self._sleep_s(plan.delay_ms / 1000)
        try:
            return self._api.call(action, values, plan=plan)
        except (KinesisError, ConnectionLost):
            raise
        except (
            Exception
        ) as error:  # the process must outlive a bug in one request; the trace says where it is
            traceback.print_exc(file=sys.stderr)
            raise KinesisError("InternalFailure", f"{type(error).__name__} in {action}") from error

    def _health(self, path: str) -> Response:
        if path != HEALTH:
            return Response(404)
        answer: dict[str, Any] = {"status": "ok", "pid": os.getpid(), "streams": self._api.model.names()}
        if self._faults is not None:
            answer["faults"] = dict(self._faults.fired)
        return Response(200, json.dumps(answer).encode(), "application/json")


def _response(status: int, body: bytes, content_type: str, headers: dict[str, str] | None = None) -> Response:
    request_id = os.urandom(16).hex()
    name = f"{request_id[:8]}-{request_id[8:12]}-{request_id[12:16]}-{request_id[16:20]}-{request_id[20:]}"
    return Response(status, body, content_type, {"x-amzn-RequestId": name, **(headers or {})})
