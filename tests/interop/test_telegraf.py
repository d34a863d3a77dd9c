"""The real Telegraf sends: by HTTP what it was told is what is counted, and by Kinesis what Kinesis took at once."""

from pathlib import Path
from typing import Any

import pytest

from interop.definition import collected, definition, definition_in, put_by_agents
from interop.otel import AT_MS
from interop.programs import await_all
from interop.served import attacked, data_in, served
from interop.telegraf import lines_of, output_of, readings_of, telegraf
from support.agents import PUT_BY_AGENTS, agent_records
from support.collecting import serving, stored_in
from support.scripted_kinesis import scripted_kinesis, stores_all

COUNT = 3_000


def test_every_field_of_every_line_counts_once_through_a_stream_that_was_down(tmp_path: Path) -> None:
    stored, is_down = list[tuple[str, Any]](), [True]

    def script(operation: str, request: Any) -> Any:
        if is_down[0]:
            return 500, {"__type": "InternalFailure"}
        stored.append((operation, request))
        return stores_all(operation, request)

    pipeline = definition(tmp_path)
    with (
        scripted_kinesis(script) as (url, _),
        serving(tmp_path, url, "--pipeline", str(definition_in(tmp_path))) as server,
    ):
        environment = {"HTTP": server.url.removesuffix("/v1/events")}
        with telegraf(tmp_path, environment, output_of("sending.md", "influxdb_v2")) as agent:
            agent.write(lines_of("a", COUNT))
            is_down[0] = False
            await_all(lambda: collected(stored_in(stored), pipeline).total(), 2 * COUNT)
            assert agent.program.says("Wrote batch of")
    assert collected(stored_in(stored), pipeline) == readings_of("a", COUNT)


def test_a_line_that_is_refused_takes_no_other_with_it_and_the_agent_says_why(tmp_path: Path) -> None:
    pipeline = definition(tmp_path)
    with scripted_kinesis() as (url, requests):
        with serving(tmp_path, url, "--pipeline", str(definition_in(tmp_path))) as server:
            environment = {"HTTP": server.url.removesuffix("/v1/events")}
            with telegraf(tmp_path, environment, output_of("sending.md", "influxdb_v2")) as agent:
                agent.write(
                    [*lines_of("a", 5), f'weather,host=a text="x" {AT_MS * 1_000_000}', *lines_of("b", 5)]
                )
                agent.program.await_said("partial write: 20 events were accepted, 1 refused")
        assert collected(stored_in(requests), pipeline) == readings_of("a", 5) + readings_of("b", 5)


KINESIS = output_of("formats.md", "kinesis").replace('"telemetry"', '"s"')
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}


def test_by_kinesis_every_field_counts_once_where_each_request_is_taken(tmp_path: Path) -> None:
    with served(tmp_path) as running:
        running.client.create_stream(StreamName="s", ShardCount=2)
        environment = {"AWS_ENDPOINT_URL_KINESIS": running.plain.url, **CREDENTIALS}
        with telegraf(tmp_path, environment, KINESIS) as agent:
            agent.write(lines_of("a", COUNT))
            agent.write(lines_of("b", COUNT))
            await_all(lambda: len(data_in(running)), 2 * COUNT)
        found = put_by_agents(data_in(running), definition(tmp_path))
    assert found == readings_of("a", COUNT) + readings_of("b", COUNT)


def test_the_record_that_it_puts_is_the_golden_one(tmp_path: Path) -> None:
    line = rf'weather,host=a\ b\,c\=é t=20.5,n=-3i,u=7u,yes=true,text="say \"hi\"" {AT_MS * 1_000_000}'
    with served(tmp_path) as running:
        running.client.create_stream(StreamName="s", ShardCount=1)
        environment = {"AWS_ENDPOINT_URL_KINESIS": running.plain.url, **CREDENTIALS}
        with telegraf(tmp_path, environment, KINESIS) as agent:
            agent.write([line])
            await_all(lambda: len(data_in(running)), 1)
        assert data_in(running) == [agent_records(PUT_BY_AGENTS.read_text())["telegraf"]]


@pytest.mark.parametrize("faults", ["7:throttle=0.2", "7:error=1"])
def test_by_kinesis_what_is_not_taken_is_lost_by_telegraf_and_only_its_log_says_so(
    tmp_path: Path, faults: str
) -> None:
    with served(tmp_path) as running, attacked(running, faults) as hostile:
        running.client.create_stream(StreamName="s", ShardCount=2)
        environment = {"AWS_ENDPOINT_URL_KINESIS": hostile.url, **CREDENTIALS}
        with telegraf(tmp_path, environment, KINESIS) as agent:
            agent.write(lines_of("a", 500))
            agent.program.await_said("Unable to write")
        found = put_by_agents(data_in(running), definition(tmp_path))
    assert found < readings_of("a", 500)
