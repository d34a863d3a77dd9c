"""The template's HTTP API on this machine: what is kept of it, with values that only the emulator knows; and its port."""

import re
import socket
from pathlib import Path
from typing import Any

import pytest

from infra.local.changes.config import parse as parse_changes
from infra.local.dynamodb.api import DynamoApi
from infra.local.dynamodb.database import open_database
from infra.local.dynamodb.server import DynamoServer
from infra.local.dynamodb.store import Store
from infra.local.gateway.api import read_api
from infra.local.gateway.socket_api import read_socket_api
from infra.local.http.secret import Credentials
from infra.local.stack.clients import local_client
from infra.local.stack.home import Home, write_json
from infra.local.stack.served import Place, changes_config, gateway_config, may_be_served, wanted_port
from infra.local.stack.tables import create_table
from infra.local.stack.template import LocalTemplate, divide, resolve, told
from streamgage.errors import ConfigError
from support.paths import ROOT

TEMPLATE = ROOT / "tests" / "infra" / "templates" / "gateway.yaml"
API_ARN = "arn:aws:lambda:us-east-1:000000000000:function:streamgage-Api:live"


@pytest.fixture(scope="module")
def template() -> LocalTemplate:
    return divide(TEMPLATE, keep_tables=True)


def evaluated(expression: Any, parameters: dict[str, str]) -> str:
    """Return what CloudFormation would give out for the few expressions of this template."""
    match expression:
        case {"Ref": name}:
            return parameters.get(name, str(name))
        case {"Fn::If": [condition, then, otherwise]}:
            return str(then if parameters[condition] == "true" else otherwise)
        case {"Fn::Join": [separator, parts]}:
            return str(separator).join(parts)
        case {"Fn::Sub": text}:
            known = {
                "StackName": "streamgage",
                "Partition": "aws",
                "Region": "us-east-1",
                "URLSuffix": "amazonaws.com",
            }
            return re.sub(r"\$\{AWS::(\w+)\}", lambda name: known.get(name[1], name[0]), str(text))
        case {"Fn::GetAtt": [name, *_]}:
            return str(name)
        case _:
            return str(expression)


def outputs(template: LocalTemplate, **parameters: str) -> dict[str, str]:
    known = {
        "Served": "true",
        "Jwt": "false",
        "CrossOrigin": "false",
        "Rate": "10",
        "Burst": "20",
        "Origins": "",
    }
    found = template.cloudformation["Outputs"].items()
    return {name: evaluated(each["Value"], known | parameters) for name, each in found}


def api_of(template: LocalTemplate, **parameters: str) -> Any:
    given = outputs(template, **parameters)
    return read_api({name: resolve(each, given) for name, each in template.gateway.items()})


def test_nothing_of_the_api_is_the_emulators(template: LocalTemplate) -> None:
    kinds = {each["Type"] for each in template.cloudformation["Resources"].values()}
    assert not [each for each in kinds if "ApiGateway" in each or "Lambda" in each]
    assert "HttpApiPermission" in told(template.elsewhere)
    endpoint = template.cloudformation["Outputs"]["ApiEndpoint"]["Value"]
    assert endpoint.endswith(".execute-api.us-east-1.amazonaws.com")


def test_an_api_is_read_with_what_the_emulator_gives_out(template: LocalTemplate) -> None:
    api = api_of(template)
    assert len(api.id) == 10
    assert {each.key: (each.function, each.timeout_ms, each.unasked) for each in api.routes} == {
        "$default": (API_ARN, 30_000, "AWS_IAM"),
        "ANY /quick/{what}": (API_ARN, 1_000, ""),
    }
    assert [(each.name, each.rates[""].per_s, each.rates[""].burst) for each in api.stages] == [
        ("$default", 10.0, 20)
    ]
    assert api.cors is None


def test_lists_and_objects_that_a_condition_chooses_are_chosen(template: LocalTemplate) -> None:
    api = api_of(template, CrossOrigin="true", Jwt="true", Origins="https://a.example,https://b.example")
    assert api.cors.named_origins == {"https://a.example", "https://b.example"}
    assert api.cors.methods == ("GET",)
    assert {each.unasked for each in api.routes} == {"JWT", ""}


def test_an_api_that_its_condition_leaves_out_is_none(template: LocalTemplate) -> None:
    assert may_be_served(template)
    assert api_of(template, Served="false") is None


def test_each_process_has_its_own_function(template: LocalTemplate, tmp_path: Path) -> None:
    given = outputs(template)
    assert template.mapped(given)[0] == "Aggregate"
    assert template.function_of(API_ARN)[0] == "Api"
    assert template.function_of("streamgage-Api")[0] == "Api"
    with pytest.raises(
        ConfigError, match="streamgage-Ap is no function of the template; it has: Aggregate, Api"
    ):
        template.function_of("streamgage-Ap")
    endpoints = dict.fromkeys(("aws", "dynamodb", "kinesis"), "http://127.0.0.1:1")
    place = Place(Home(tmp_path), 7, endpoints, Credentials("A", "B"))
    assert changes_config(place, template, given) is None
    config = gateway_config(place, template, given)
    assert config is not None
    function = config["function"]
    assert (function["name"], function["handler"], function["timeout_s"]) == (
        "streamgage-Api",
        "handlers.handler",
        4,
    )
    assert function["env"]["AWS_ENDPOINT_URL_DYNAMODB"] == "http://127.0.0.1:1"
    assert function["env"]["TABLE"] == "streamgage-Table"


def test_sockets_and_changes_have_functions_of_their_own_that_are_told_where_connections_are(
    tmp_path: Path,
) -> None:
    template = divide(TEMPLATE.with_name("live.yaml"), keep_tables=True)
    given = outputs(template, Live="true")
    endpoints = dict.fromkeys(("aws", "dynamodb", "kinesis"), "http://127.0.0.1:1")
    credentials = Credentials("A", "B")
    place = Place(Home(tmp_path), 7, endpoints, credentials)
    gateway, changes = gateway_config(place, template, given), changes_config(place, template, given)
    assert gateway is not None
    assert changes is not None
    assert gateway["socket_function"]["handler"] == "handlers.keep"
    assert (changes["table"], changes["function"]["handler"]) == ("streamgage-Table", "handlers.push")
    assert changes["function"]["env"]["SOCKET_ENDPOINT"] == f"http://127.0.0.1:7/{credentials.base}"
    parsed = parse_changes(changes).mapping
    assert (parsed.batch_size, parsed.window_ms, parsed.max_record_age_ms) == (1000, 1000, 60_000)
    api = read_socket_api(gateway["resources"])
    assert api is not None
    assert {each.key: (each.two_way, each.unasked) for each in api.routes.values()} == {
        "$connect": (False, "AWS_IAM"), "$default": (True, ""),
    }  # fmt: skip
    assert template.cloudformation["Outputs"]["LiveEndpoint"]["Value"].startswith("wss://")
    assert "streamgage-Table/stream/" in str(template.cloudformation["Resources"]["LiveRole"])


def test_a_websocket_api_without_an_http_api_is_refused(tmp_path: Path) -> None:
    template = divide(TEMPLATE.with_name("live.yaml"), keep_tables=True)
    del template.gateway[
        next(
            name
            for name, each in template.gateway.items()
            if each["Properties"].get("ProtocolType") == "HTTP"
        )
    ]
    endpoints = dict.fromkeys(("aws", "dynamodb", "kinesis"), "http://127.0.0.1:1")
    with pytest.raises(ConfigError, match="beside an HTTP API"):
        gateway_config(
            Place(Home(tmp_path), 7, endpoints, Credentials("A", "B")),
            template,
            outputs(template, Live="true"),
        )


def test_a_table_that_was_there_gets_the_stream_that_it_lacks() -> None:
    store = Store(open_database(None, now_ms=0))
    server = DynamoServer(DynamoApi(store, clock_ms=lambda: 0))
    server.start()
    try:
        client = local_client("dynamodb", server.url, Credentials("A", "B"))
        properties: dict[str, Any] = {
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        }
        create_table(client, "table", properties)
        client.put_item(TableName="table", Item={"pk": {"S": "kept"}})
        for _ in range(2):
            create_table(
                client, "table", {**properties, "StreamSpecification": {"StreamViewType": "KEYS_ONLY"}}
            )
        described = client.describe_table(TableName="table")["Table"]
        assert described["StreamSpecification"] == {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}
        assert described["ItemCount"] == 1
        client.close()
    finally:
        server.stop()
        store.close()


def test_the_port_of_the_last_time_is_kept_where_it_is_free(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert wanted_port(home, 0) == 0
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        write_json(home.gateway_config_file, {"port": port})
        assert wanted_port(home, 0) == 0
        assert wanted_port(home, port) == port  # who asks for it is told that it is taken
    assert wanted_port(home, 0) == port
    assert wanted_port(home, 5) == 5
    home.gateway_config_file.write_text("{")
    assert wanted_port(home, 0) == 0
