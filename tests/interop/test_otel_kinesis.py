"""The real OpenTelemetry Collector puts what it gets on a stream, by awskinesis: what then stands there."""

import signal
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from interop.definition import definition, put_by_agents
from interop.otel import collector, counter, gauge, readings
from interop.programs import PATIENCE_S, await_all
from interop.served import attacked, data_in, served
from streamgage.formats.agents.inflate import opened
from support.agents import PUT_BY_AGENTS, agent_records

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
_THROTTLED = "ProvisionedThroughputExceededException"
HOSTS = [f"h{number}" for number in range(100)]
SOON = {
    "exporters": {"awskinesis": {"retry_on_failure": {"initial_interval": "200ms", "max_interval": "1s"}}}
}
SENT = sum((readings(host, "temp", [1, 2, 3]) for host in HOSTS), Counter())


def environment(url: str) -> dict[str, str]:
    return {"AWS_ENDPOINT_URL_KINESIS": url, **CREDENTIALS}


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_what_it_got_while_kinesis_is_away_is_put_once_by_the_next_collector_too(
    tmp_path: Path, ending: int
) -> None:
    with served(tmp_path) as stream:
        stream.client.create_stream(StreamName="s", ShardCount=2)
        with ExitStack() as up:
            first = up.enter_context(attacked(stream))
            port = int(first.url.rpartition(":")[2])
            with collector(tmp_path, environment(first.url), through="awskinesis", others=SOON) as agent:
                up.close()
                agent.export_all([(host, [gauge("temp", [1, 2, 3])]) for host in HOSTS])
                agent.program.await_said("Exporting failed. Will retry")
                agent.program.process.send_signal(ending)
                agent.program.process.wait(PATIENCE_S)
        assert not data_in(stream)
        with (
            attacked(stream, port=port) as second,
            collector(tmp_path, environment(second.url), through="awskinesis", others=SOON),
        ):
            await_all(lambda: len(data_in(stream)), len(HOSTS))
        assert put_by_agents(data_in(stream), definition(tmp_path)) == SENT


def test_what_kinesis_answers_by_an_error_is_put_again_until_it_stands_there_once(tmp_path: Path) -> None:
    with served(tmp_path) as stream, attacked(stream, "5:error=0.8") as hostile:
        stream.client.create_stream(StreamName="s", ShardCount=2)
        with collector(tmp_path, environment(hostile.url), through="awskinesis", others=SOON) as agent:
            agent.export_all([(host, [gauge("temp", [1, 2, 3])]) for host in HOSTS])
            await_all(lambda: len(data_in(stream)), len(HOSTS))
        assert put_by_agents(data_in(stream), definition(tmp_path)) == SENT


def test_what_kinesis_refuses_of_a_request_is_lost_by_the_exporter_without_a_word(tmp_path: Path) -> None:
    with served(tmp_path) as stream, attacked(stream, "5:throttle=0.3") as hostile:
        stream.client.create_stream(StreamName="s", ShardCount=2)
        with collector(tmp_path, environment(hostile.url), through="awskinesis", others=SOON) as agent:
            agent.export_all([(host, [gauge("temp", [1, 2, 3])]) for host in HOSTS])
            await_all(lambda: len(data_in(stream)) + hostile.faults.fired[_THROTTLED], len(HOSTS))
        found = put_by_agents(data_in(stream), definition(tmp_path))
        log = agent.program.log.read_text()
    assert found < SENT
    assert SENT.total() - found.total() == 3 * hostile.faults.fired[_THROTTLED]
    assert "error" not in log
    assert "Will retry" not in log


def test_an_answer_that_was_lost_makes_it_put_a_request_again_which_counts_again(tmp_path: Path) -> None:
    with served(tmp_path) as stream, attacked(stream, "5:lost=0.5") as hostile:
        stream.client.create_stream(StreamName="s", ShardCount=2)
        with collector(tmp_path, environment(hostile.url), through="awskinesis", others=SOON) as agent:
            for number in range(8):
                agent.export(gauge("temp", [1, 2, 3]), host=f"h{number}")
            await_all(lambda: len(data_in(stream)), 8 + 1)
            await_all(lambda: len(set(data_in(stream))), 8)
        found = put_by_agents(data_in(stream), definition(tmp_path))
    assert (
        found.keys() == sum((readings(f"h{each}", "temp", [1, 2, 3]) for each in range(8)), Counter()).keys()
    )
    assert max(found.values()) > 1


@pytest.mark.parametrize("compression", ["none", "gzip", "zlib"])
@pytest.mark.parametrize("name", ["otlp_proto", "otlp_json"])
def test_each_encoding_is_read_whole_and_is_the_golden_one(
    tmp_path: Path, name: str, compression: str
) -> None:
    others = {"exporters": {"awskinesis": {"encoding": {"name": name, "compression": compression}}}}
    with served(tmp_path) as stream:
        stream.client.create_stream(StreamName="s", ShardCount=2)
        with collector(tmp_path, environment(stream.plain.url), through="awskinesis", others=others) as agent:
            agent.export_all(
                [
                    *((host, [gauge("temp", [1, 2, 3])]) for host in HOSTS),
                    ("é-1", [gauge("temp", [20.5, -3]), counter("hits", [10, 15])]),
                ]
            )
            await_all(lambda: len(data_in(stream)), len(HOSTS) + 1)
        data = data_in(stream)
    golden = agent_records(PUT_BY_AGENTS.read_text())[f"{name} {compression}"]
    assert opened(golden) in [opened(each) for each in data]
    told = readings("é-1", "temp", [20.5, -3]) + readings("é-1", "hits", [5], first=1)
    assert put_by_agents(data, definition(tmp_path)) == SENT + told
