"""The composition root of the collector in Lambda: ``producers.collector.function.handler`` is what Lambda calls."""

import json
import os
import random
import time
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol, cast

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.metrics import MetricUnit

from processors.awsjson.client import AwsJsonClient, ServiceError
from processors.awsjson.connections import tls_context
from processors.awsjson.credentials import credential_source
from processors.awsjson.endpoint import service_endpoint
from processors.deadline import Deadline
from processors.pipeline_files import load_pipeline
from producers.client.lean import LeanKinesis
from producers.clock import WallClock
from producers.collector.collector import ROUTES, Collector
from producers.collector.keys import Keys, parse_keys
from producers.collector.message import Answer, Asked
from producers.collector.settings import Settings
from producers.collector.streamed import DynamoDbNotes, StreamDurable
from streamgage.errors import ConfigError, RetryableError

NAMESPACE = "streamgage"
_GATEWAY_MS = 29_000  # API Gateway waits 30 s at most
_LEFT_MS = 2_000  # to give up, and to send an answer in
_KEYS_S = 30.0  # so long a key that was revoked is still taken
_CALL_S = 5.0

_name = os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "collector")
_logger = Logger(service=_name)
_metrics = Metrics(namespace=NAMESPACE, service=_name)


class LambdaContext(Protocol):
    """As far as it is looked at."""

    def get_remaining_time_in_millis(self) -> int:
        """Return how long Lambda lets this invocation run."""


class Function:
    """One sandbox: a resolver that carries the collector, and how long the request that it has may take."""

    def __init__(self, settings: Settings) -> None:
        """Make real clients; no call is made yet. Raises: ConfigError."""
        self._until_s = 0.0
        dynamodb = _client("dynamodb", "DynamoDB_20120810")
        durable = StreamDurable(
            LeanKinesis(settings.stream, left_s=self._left_s),
            DynamoDbNotes(
                lambda operation, body: _called(dynamodb, operation, body, self._left_s()), settings.table
            ),
            clock=WallClock(),
            left_ms=self._left_ms,
            rng=random.SystemRandom(),
            one_key_per_record=settings.one_key_per_record,
        )
        self.collector = Collector(
            load_pipeline(settings.pipeline),
            durable,
            keys=KeptKeys(settings.keys_parameter, time.monotonic, left_s=self._left_s),
            now_ms=lambda: time.time_ns() // 1_000_000,
            clock_s=time.monotonic,
        )
        self._asked: Asked
        self._app = app = APIGatewayHttpResolver(debug=False)
        for path, methods in ROUTES.items():
            app.route(path, method=list(methods))(self._resolved)
        app.not_found(lambda _error: self._resolved())

    def handle(self, event: Any, context: LambdaContext) -> dict[str, Any]:
        """Return the answer to *event*. Raises: ConfigError, it is no event of an HTTP API."""
        left_ms = min(context.get_remaining_time_in_millis(), _GATEWAY_MS) - _LEFT_MS
        self._until_s = time.monotonic() + left_ms / 1000
        self._asked = asked = Asked.of_event(event)
        tally = self.collector.tally
        before = tally.accepted, tally.refused, tally.repeated
        context_of_event = {**event["requestContext"], "stage": "$default"}
        answer: dict[str, Any] = self._app.resolve(
            {**event, "rawPath": asked.path, "requestContext": context_of_event}, cast("Any", context)
        )
        status = answer["statusCode"]
        facts = {
            "method": asked.method[:20],
            "route": asked.path if asked.path in ROUTES else "none",
            "status": status,
        }
        failure = tally.take_failure()
        if failure is None:
            _logger.info("answered", extra=facts)
        else:
            _logger.error("not kept: %s", failure, extra=facts)
        after = tally.accepted, tally.refused, tally.repeated
        for name, was, value in zip(("Accepted", "Refused", "Repeated"), before, after, strict=True):
            _metrics.add_metric(name, MetricUnit.Count, value - was)
        _metrics.add_metric("NotDurable", MetricUnit.Count, int(status == 503))
        _metrics.flush_metrics()
        return answer

    def _resolved(self) -> "Response[Any]":
        answer = self.collector.answer(self._asked)
        return Response(answer.status, answer.content_type, body=_body(answer), headers=dict(answer.headers))

    def _left_s(self) -> float:
        return max(self._until_s - time.monotonic(), 0.0)

    def _left_ms(self) -> int:
        return int(self._left_s() * 1000)


class KeptKeys:
    """The keys in an SSM parameter, read again every half minute; where that fails, what was read before stays."""

    def __init__(self, parameter: str, clock_s: Callable[[], float], *, left_s: Callable[[], float]) -> None:
        self._parameter, self._clock_s, self._left_s = parameter, clock_s, left_s
        self._kept: tuple[Keys, float] | None = None
        self._ssm: AwsJsonClient | None = None

    def __call__(self) -> Keys:
        """Return those of now. Raises: ConfigError, RetryableError: there are none to be read."""
        now_s = self._clock_s()
        if self._kept is not None and now_s < self._kept[1]:
            return self._kept[0]
        try:
            keys = self._read()
        except RetryableError:
            if self._kept is None:
                raise
            keys = self._kept[0]
        self._kept = keys, now_s + _KEYS_S
        return keys

    def _read(self) -> Keys:
        if not self._parameter:
            return Keys()
        self._ssm = self._ssm or _client("ssm", "AmazonSSM", json_version="1.1")
        request = json.dumps({"Name": self._parameter, "WithDecryption": True})
        try:
            content = _called(self._ssm, "GetParameter", request, self._left_s())
        except ServiceError as error:
            if error.error == "ParameterNotFound":  # none was made yet
                return Keys()
            raise ConfigError(f"the parameter {self._parameter} of keys: {error}") from error
        return parse_keys(json.loads(content)["Parameter"]["Value"])


def _body(answer: Answer) -> Any:
    try:
        return answer.body.decode()
    except UnicodeDecodeError:
        return answer.body  # the resolver makes base64 of it


def _client(service: str, target: str, *, json_version: str = "1.0") -> AwsJsonClient:
    endpoint = service_endpoint(service, os.environ)
    return AwsJsonClient.of_environment(
        service,
        target,
        environment=os.environ,
        credentials=credential_source(os.environ),
        tls=_tls() if endpoint.tls else None,
        json_version=json_version,
    )


@cache
def _tls() -> Any:
    return tls_context(os.environ)


def _called(client: AwsJsonClient, operation: str, body: str, left_s: float) -> Any:
    return client.call(operation, body, client.retries(Deadline.after(min(_CALL_S, left_s))))


@cache
def _built() -> Function:
    return Function(Settings.of(os.environ))


def handler(event: Any, context: LambdaContext) -> dict[str, Any]:
    """Answer one request of API Gateway's HTTP API, payload format 2.0."""
    return _built().handle(event, context)


# In a sandbox it is built while it is imported, as the other functions are: docs/adr/0011. The marks are not drawn then.
if "LAMBDA_TASK_ROOT" in os.environ:
    _built()
