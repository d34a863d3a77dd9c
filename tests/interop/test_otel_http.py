"""The real OpenTelemetry Collector sends to `streamgage collect` by otlphttp: what it was told is what is counted."""

from collections import Counter
from pathlib import Path
from typing import Any

from infra.local.http.message import HangUp, Limits, Request, Response
from infra.local.http.server import HttpServer
from interop.definition import collected, definition, definition_in
from interop.otel import collector, counter, gauge, readings
from interop.programs import await_all
from producers.collector.keys import Keys, keys_text, new_key
from producers.collector.message import Asked
from support.collecting import Kept, collector_over, serving, stored_in
from support.scripted_kinesis import scripted_kinesis, stores_all

VALUES = [each / 4 for each in range(2_000)]


def test_every_point_counts_once_and_a_counter_counts_what_it_grew_by(tmp_path: Path) -> None:
    key, presented = new_key("agent", b"s" * 32, made_ms=0)
    keys = tmp_path / "keys.json"
    keys.write_text(keys_text(Keys((key,))))
    gauges = (readings(f"h{number}", "temp", VALUES) for number in range(3))
    sent = sum(gauges, readings("h", "hits", [5, 0, 7], first=1))
    pipeline = definition(tmp_path)
    with scripted_kinesis() as (url, requests):
        page = str(definition_in(tmp_path))
        with serving(tmp_path, url, "--pipeline", page, "--keys", str(keys)) as server:
            environment = {"HTTP": server.url.removesuffix("/v1/events"), "STREAMGAGE_KEY": presented}
            with collector(tmp_path, environment, through="otlphttp") as agent:
                for number in range(3):
                    agent.export(gauge("temp", VALUES), host=f"h{number}")
                agent.export(counter("hits", [10, 15, 15, 22]), host="h")
                await_all(lambda: collected(stored_in(requests), pipeline).total(), sent.total())
        assert collected(stored_in(requests), pipeline) == sent


def test_what_is_refused_of_a_batch_is_told_to_it_and_all_else_counts(tmp_path: Path) -> None:
    with scripted_kinesis() as (url, requests):
        with serving(tmp_path, url, "--pipeline", str(definition_in(tmp_path))) as server:
            environment = {"HTTP": server.url.removesuffix("/v1/events")}
            with collector(tmp_path, environment, through="otlphttp") as agent:
                agent.export(
                    gauge("temp", [1, 2]), counter("connections", [3, 2], is_monotonic=False), host="h"
                )
                agent.program.await_said("Partial success response")
            said = agent.program.log.read_text()
        assert collected(stored_in(requests), definition(tmp_path)) == readings("h", "temp", [1, 2])
    assert '"dropped_data_points":2' in said
    assert "a cumulative sum" in said


def test_an_answer_that_is_lost_makes_it_send_the_same_bytes_which_count_once(tmp_path: Path) -> None:
    port, answered = Kept(), list[bytes]()
    receiving = collector_over(port, definition=definition(tmp_path))

    def respond(request: Request) -> Response:
        answer = receiving.answer(Asked(request.method, request.path, "", request.headers, request.body))
        answered.append(request.body)
        if len(answered) == 1:
            raise HangUp
        return Response(answer.status, answer.body, answer.content_type, answer.headers)

    server = HttpServer(respond, name="collector", limits=Limits(chunked=True))
    server.start()
    others = {"exporters": {"otlphttp": {"retry_on_failure": {"initial_interval": "200ms"}}}}
    try:
        with collector(tmp_path, {"HTTP": server.url}, through="otlphttp", others=others) as agent:
            agent.export(gauge("temp", VALUES[:500]), host="h")
            await_all(lambda: len(answered), 2)
    finally:
        server.stop()
    assert [len(each.events) for each in port.batches] == [1]
    assert sorted(each["value"] for each in port.events) == VALUES[:500]


def test_a_key_that_is_none_is_final_to_it(tmp_path: Path) -> None:
    key, _ = new_key("agent", b"s" * 32, made_ms=0)
    keys = tmp_path / "keys.json"
    keys.write_text(keys_text(Keys((key,))))
    page = str(definition_in(tmp_path))
    with (
        scripted_kinesis() as (url, _),
        serving(tmp_path, url, "--pipeline", page, "--keys", str(keys)) as server,
    ):
        environment = {"HTTP": server.url.removesuffix("/v1/events"), "STREAMGAGE_KEY": "sgk_agent_other"}
        with collector(tmp_path, environment, through="otlphttp") as agent:
            agent.export(gauge("temp", [1, 2]), host="h")
            agent.program.await_said("Dropping data")
            assert agent.program.says("401")


def test_while_the_collector_has_no_room_it_waits_as_long_as_it_is_told_and_each_point_counts_once(
    tmp_path: Path,
) -> None:
    is_down, stored = [True], list[tuple[str, Any]]()

    def script(operation: str, request: Any) -> Any:
        if is_down[0]:
            return 500, {"__type": "InternalFailure"}
        stored.append((operation, request))
        return stores_all(operation, request)

    hosts = [f"{number:0200}" for number in range(20)]  # so that they are more than the spool holds
    with scripted_kinesis(script) as (url, _):
        options = "--pipeline", str(definition_in(tmp_path)), "--spool-bytes", str(4 * 1024 * 1024)
        with serving(tmp_path, url, *options) as server:
            environment = {"HTTP": server.url.removesuffix("/v1/events")}
            with collector(tmp_path, environment, through="otlphttp") as agent:
                for host in hosts:
                    agent.export(gauge("temp", VALUES), host=host)
                agent.program.await_said("503")
                is_down[0] = False
                pipeline = definition(tmp_path)
                await_all(lambda: collected(stored_in(stored), pipeline).total(), len(hosts) * len(VALUES))
                said = agent.program.log.read_text()
        found = collected(stored_in(stored), pipeline)
    assert "Throttle (5s)" in said  # what Retry-After says
    assert found == sum((readings(host, "temp", VALUES) for host in hosts), Counter())
