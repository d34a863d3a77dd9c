"""``streamgage mqtt``: a bridge from an MQTT broker to the stream."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from infra.commands.arguments import Verbs, add_stream_options, add_verb, aws_stack
from infra.commands.places import Target, find_aws_target, find_target
from infra.commands.world import World, real_world
from streamgage.durations import parse_duration
from streamgage.errors import ConfigError
from streamgage.visible import visible

if TYPE_CHECKING:
    from producers.mqtt.settings import BrokerSettings

_PASSWORD = "MQTT_PASSWORD"  # noqa: S105 - the variable's name
_MIB = 1 << 20
_MOST_PASSWORD_BYTES = 65_535

EXAMPLES = """examples:
  streamgage mqtt mqtt://localhost
  MQTT_PASSWORD=… streamgage mqtt mqtts://broker.plant:8883 --username bridge --ca-file plant-ca.pem
  streamgage mqtt mqtt://broker --client-id bridge-2 --share bridges --target aws --stack plant-7

[[mqtt]] of pipeline.toml says which topics are events of which source: docs/mqtt.md. A message is acknowledged once its events
are on the disk, in the spool; from there they go to the stream, whenever that answers. Beside the spool stand SPOOL.mqtt, what is
remembered of ids, and SPOOL.quarantine.ndjson, messages that cannot be counted, each with its reason.

exit code:
  0  ended by a signal: what had come is safe and acknowledged
  2  a person has to change something: an argument, the pipeline, a right at the broker; or the quarantine is full"""


def add_parser(verbs: Verbs, *, world: World | None = None) -> None:
    """Add ``mqtt``. *world* is this process's own unless a test brings another."""
    parser = add_verb(
        verbs, "mqtt", "carry an MQTT broker's messages to the stream", epilog=EXAMPLES, allow_abbrev=False
    )
    parser.add_argument("broker", metavar="URL", help="mqtt://HOST[:1883], or mqtts://HOST[:8883] with TLS")
    client = parser.add_argument_group("client")
    client.add_argument(
        "--client-id",
        metavar="ID",
        default="streamgage",
        help="the session's name; no other client's (streamgage)",
    )
    client.add_argument("--username", metavar="NAME", help=f"its password is in ${_PASSWORD}, or a file")
    client.add_argument("--password-file", metavar="PATH", help="the password, without its line end")
    client.add_argument(
        "--ca-file", metavar="PATH", type=Path, help="who vouches for the broker; the system's own without it"
    )
    client.add_argument("--cert-file", metavar="PATH", type=Path, help="the client's certificate")
    client.add_argument("--key-file", metavar="PATH", type=Path, help="its key")
    client.add_argument("--mqtt-version", choices=("5", "3.1.1"), default="5", help="of the protocol (5)")
    client.add_argument(
        "--share", metavar="GROUP", help="of a shared subscription: a message goes to one bridge of it"
    )
    client.add_argument(
        "--receive-maximum",
        metavar="N",
        type=int,
        default=1_000,
        help="messages ahead of their acknowledgement (1000)",
    )
    client.add_argument(
        "--keep-alive", metavar="SECONDS", type=int, default=60, help="between signs of life (60)"
    )
    client.add_argument(
        "--session-expiry",
        metavar="TIME",
        default="7d",
        help="how long the broker keeps messages for who is away (7d)",
    )
    client.add_argument(
        "--status-topic", metavar="TOPIC", help='where "online" stands, and "offline" as the will'
    )
    kept = parser.add_argument_group("what is kept")
    kept.add_argument(
        "--spool", metavar="PATH", type=Path, default=Path("mqtt.spool"), help="the spool (mqtt.spool)"
    )
    kept.add_argument(
        "--spool-mib", metavar="N", type=int, default=1_024, help="how large it may become (1024)"
    )
    kept.add_argument(
        "--quarantine-mib",
        metavar="N",
        type=int,
        default=256,
        help="how large the quarantine may become (256)",
    )
    kept.add_argument(
        "--ids", metavar="N", type=int, default=1_000_000, help="ids that are remembered (1000000)"
    )
    parser.add_argument(
        "--every", metavar="TIME", default="10s", help="how often it says how it stands (10s)"
    )
    parser.add_argument(
        "--json", action="store_true", help="say it as JSON, a line each time, on standard output"
    )
    add_stream_options(parser)
    parser.set_defaults(run=lambda args: run(args, world or real_world()))


def run(args: argparse.Namespace, world: World) -> int:
    """Run the bridge until a signal ends it; return the exit code. Raises: ConfigError, RetryableError."""
    try:
        from producers.mqtt.run import BridgeFiles, Health, check_subscriptions, run_bridge
    except ModuleNotFoundError as error:
        if error.name != "paho":
            raise
        raise ConfigError("paho-mqtt is not installed: pip install 'streamgage[mqtt]'") from error
    from producers.client.distribution import check_distribution
    from producers.mqtt.routes_toml import load_routes
    from producers.sending.transports import open_stream

    pipeline, subscriptions = load_routes(world.pipeline_path(args.pipeline))
    settings = _settings(args, world.environ, world.folder)
    check_subscriptions(subscriptions, settings)
    files = BridgeFiles(
        world.folder / args.spool,
        _at_least(args.spool_mib, "--spool-mib") * _MIB,
        _at_least(args.quarantine_mib, "--quarantine-mib") * _MIB,
        _at_least(args.ids, "--ids"),
    )
    every_ms = _duration_ms(args.every, "--every")
    target = _target(args, world)

    def tell(health: Health) -> None:
        if args.json:
            print(health.as_json(), file=world.out, flush=True)
        else:
            world.warn(str(health))

    port = open_stream(
        "boto3",
        target.stream,
        region=target.region,
        endpoint_url=target.endpoint_url,
        credentials=target.credentials,
        concurrency=2,
    )
    try:
        check_distribution(target.stream, port.describe, waits=False)
        print(f"from {visible(settings.address)} to {visible(str(target))}", file=world.err, flush=True)
        with world.noting(world.stop):
            health = run_bridge(
                pipeline,
                subscriptions,
                settings,
                files,
                port,
                stop=world.stop,
                warn=lambda text: world.warn(visible(text)),
                tell=tell,
                every_ms=every_ms,
                one_key_per_record=args.one_key_per_record or target.one_key_per_record,
            )
    finally:
        port.close()
    tell(health)
    return 0


def _target(args: argparse.Namespace, world: World) -> Target:
    name = aws_stack(args)
    if name is None:
        return find_target(
            stream=args.stream,
            endpoint_url=args.endpoint_url,
            region=args.region,
            environ=world.environ,
            folder=world.folder,
        )
    if args.stream or args.endpoint_url:
        raise ConfigError(
            "--stream or --endpoint-url beside --target aws: the stack's own stream is meant, or another"
        )
    return find_aws_target(name, region=args.region)


def _settings(args: argparse.Namespace, environ: Mapping[str, str], folder: Path) -> "BrokerSettings":
    from producers.mqtt.settings import BrokerSettings, address_of

    host, port, tls = address_of(args.broker)
    return BrokerSettings(
        host,
        port,
        tls,
        client_id=args.client_id,
        username=args.username,
        password=_password(args, environ, folder),
        version=args.mqtt_version,
        keepalive_s=args.keep_alive,
        receive_maximum=args.receive_maximum,
        session_expiry_s=_duration_ms(args.session_expiry, "--session-expiry") // 1000,
        share=args.share,
        status_topic=args.status_topic,
        ca_file=None if args.ca_file is None else folder / args.ca_file,
        cert_file=None if args.cert_file is None else folder / args.cert_file,
        key_file=None if args.key_file is None else folder / args.key_file,
    )


def _password(args: argparse.Namespace, environ: Mapping[str, str], folder: Path) -> str | None:
    """Return the password; of a name that has none, None. Raises: ConfigError."""
    named: str | None = args.password_file
    if named is None:
        return environ.get(_PASSWORD) if args.username is not None else None
    path = folder / named
    try:
        with path.open("rb") as file:
            return file.read(_MOST_PASSWORD_BYTES).decode().rstrip("\r\n")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path}: no password can be read ({getattr(error, 'strerror', None) or error})"
        ) from error


def _at_least(number: int, option: str) -> int:
    if number < 1:
        raise ConfigError(f"{option} {number}: at least 1")
    return number


def _duration_ms(text: str, option: str) -> int:
    try:
        duration_ms = parse_duration(text)
    except ValueError as error:
        raise ConfigError(f'{option} {text}: a whole number and a unit, such as "10s", "7d"') from error
    return _at_least(duration_ms, option)
