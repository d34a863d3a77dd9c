"""``streamgage keys``: who may send to the collector. A secret is shown once, and kept nowhere."""

import argparse
import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from infra.commands.arguments import Verbs, add_stack_options, add_verb, aws_stack
from streamgage.durations import parse_duration
from streamgage.errors import ConfigError

if TYPE_CHECKING:
    from producers.collector.keys import Key, Keys

EXAMPLES = """examples:
  streamgage keys create gateway-7 --source reading            a device's key, for one source
  streamgage keys create web --source click --origin https://example.com --expires 365d
                                                               a page's key: public, and write-only
  streamgage keys list --target aws --stack plant
  streamgage keys rotate web                                   a new one; the old one holds for 7 days more
  streamgage keys revoke web                                   at once
  streamgage keys create edge --file keys.json                 for `streamgage collect --keys keys.json`

Where they are: in the home of the stack that runs here; with --target aws in an SSM parameter of the stack; with --file in
that file. Hashes are kept, no secrets. Without a key everybody who has the address of a local stack may send, and nobody on
AWS. The collector looks for changes twice a minute, one with --file each second."""
_CREATE = """examples:
  streamgage keys create gateway-7 --source reading
  streamgage keys create web --source click --origin https://example.com --origin https://www.example.com
  KEY=$(streamgage keys create ci --expires 1h)

The key alone is on stdout, and is never shown again. With --origin it is a browser's: whoever opens the page can read it, so
name its --source; it lets him write events, and read nothing. Without --origin it is refused to browsers."""
_LIST = """examples:
  streamgage keys list
  streamgage keys list --format json --target aws"""
_ROTATE = """examples:
  streamgage keys rotate web                 web-2, for the same sources, origins and time; web ends in 7 days
  streamgage keys rotate web --keep 0s       web ends now

A batch that was sent with the old one and comes again with the new one counts once. Give the new one to who sends, see in `keys list` until when the old one holds, and revoke it."""
_REVOKE = """examples:
  streamgage keys revoke web

Who sends with it is answered 401 within a minute."""
_KEEP = "7d"


class KeyStore(Protocol):
    """Where keys are kept."""

    def read(self) -> "Keys":
        """Return them."""

    def write(self, keys: "Keys") -> None:
        """Keep *keys* in place of those that were read."""


@dataclass(frozen=True, slots=True)
class FileKeys:
    """The keys of a ``streamgage collect``, in a file of the owner's."""

    path: Path

    def read(self) -> "Keys":
        """Return them; none where there is no file yet. Raises: ConfigError."""
        from producers.collector.keys import Keys, parse_keys

        try:
            return parse_keys(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return Keys()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{self.path}: {error}") from error

    def write(self, keys: "Keys") -> None:
        """Keep *keys*, whole or not at all. Raises: ConfigError."""
        from infra.local.files import open_private
        from producers.collector.keys import keys_text

        partial = self.path.with_name(f"{self.path.name}.partial")
        try:
            with os.fdopen(open_private(partial), "w", encoding="utf-8") as file:
                file.write(keys_text(keys) + "\n")
            partial.replace(self.path)
        except OSError as error:
            raise ConfigError(f"{self.path}: {error.strerror or error}") from error


@dataclass(frozen=True, slots=True)
class HomeKeys:
    """The keys of a local stack: its home's, and while it runs those that its function reads."""

    put: "Callable[[Keys], None]"
    get: "Callable[[], Keys]"

    def read(self) -> "Keys":
        """Return them. Raises: ConfigError."""
        return self.get()

    def write(self, keys: "Keys") -> None:
        """Keep *keys*, and hand them over. Raises: ConfigError."""
        self.put(keys)


def add_parser(verbs: Verbs) -> None:
    """Add ``keys`` and what it does."""
    keys = add_verb(verbs, "keys", "make, list, rotate and revoke keys of the collector", epilog=EXAMPLES)
    kinds = keys.add_subparsers(title="what to do", required=True, metavar="WHAT")
    for name, summary, epilog, run in (
        ("create", "make a key, and print it, once", _CREATE, run_create),
        ("list", "list the keys, without their secrets", _LIST, run_list),
        ("rotate", "make a key in place of another, which holds a while longer", _ROTATE, run_rotate),
        ("revoke", "take a key back", _REVOKE, run_revoke),
    ):
        parser = add_verb(kinds, name, summary, epilog=epilog)
        if name != "list":
            parser.add_argument("id", metavar="ID", help="the key's: 1 to 32 of a-z, 0-9 and -")
        if name == "create":
            parser.add_argument(
                "--source", action="append", metavar="NAME", help="where it may send to; again for each (all)"
            )
            parser.add_argument(
                "--origin",
                action="append",
                metavar="URL",
                help="whose pages may send with it; * for all (none)",
            )
        if name in ("create", "rotate"):
            without = "until revoked" if name == "create" else "as long as the old one was to"
            parser.add_argument(
                "--expires", metavar="DURATION", help=f"how long it holds, such as 90d ({without})"
            )
        if name == "rotate":
            parser.add_argument(
                "--keep",
                metavar="DURATION",
                default=_KEEP,
                help=f"how long the old one still holds ({_KEEP})",
            )
        if name == "list":
            parser.add_argument("--format", choices=("text", "json"), default="text", help="(text)")
        group = parser.add_argument_group("where", "without any of these: the stack in this folder")
        add_stack_options(group)
        group.add_argument("--file", metavar="PATH", type=Path, help="of `streamgage collect --keys PATH`")
        parser.set_defaults(run=run)


def run_create(arguments: argparse.Namespace) -> int:
    """Make a key; its text is all that is on stdout. Raises: ConfigError."""
    from producers.collector.keys import SECRET_BYTES, new_key

    made_ms = _now_ms()
    with _store(arguments) as store:
        key, text = new_key(
            arguments.id,
            secrets.token_bytes(SECRET_BYTES),
            made_ms=made_ms,
            expires_ms=_until(arguments.expires, made_ms, "--expires"),
            sources=arguments.source,
            origins=arguments.origin,
        )
        store.write(store.read().plus(key))
    _say(f"{_told(key, made_ms)}. It is shown once:")
    print(text)
    return 0


def run_list(arguments: argparse.Namespace) -> int:
    """Show every key, without a secret. Raises: ConfigError."""
    from producers.collector.keys import keys_text

    with _store(arguments) as store:
        keys = store.read()
    if arguments.format == "json":
        listed = json.loads(keys_text(keys))["keys"]
        print(
            json.dumps(
                [{name: value for name, value in each.items() if name != "hash"} for each in listed], indent=1
            )
        )
        return 0
    for each in keys.entries:
        print(_told(each, _now_ms()))
    if not keys.entries:
        print(
            "there is no key: " + ("whoever has the address may send" if keys.anyone else "nobody may send")
        )
    return 0


def run_rotate(arguments: argparse.Namespace) -> int:
    """Make a key as another one is, which then ends. Raises: ConfigError."""
    from producers.collector.keys import SECRET_BYTES, new_key

    made_ms = _now_ms()
    ends_ms = _until(arguments.keep, made_ms, "--keep") or made_ms
    with _store(arguments) as store:
        keys = store.read()
        old = keys.named(arguments.id)
        expires_ms = _until(arguments.expires, made_ms, "--expires")
        if expires_ms is None and old.expires_ms is not None:  # whoever gave it an end wants none without
            expires_ms = made_ms + old.expires_ms - old.made_ms
        key, text = new_key(
            next_id(keys, old.id),
            secrets.token_bytes(SECRET_BYTES),
            made_ms=made_ms,
            expires_ms=expires_ms,
            sources=old.sources,
            origins=old.origins,
            rotated_from=old.line,
        )
        store.write(keys.plus(key).until(old.id, ends_ms))
    _say(f"{old.id} holds until {_instant(ends_ms)} at most. {_told(key, made_ms)}. It is shown once:")
    print(text)
    return 0


def run_revoke(arguments: argparse.Namespace) -> int:
    """Take a key back. Raises: ConfigError: there is none of that id."""
    with _store(arguments) as store:
        left = store.read().minus(arguments.id)
        store.write(left)
    who = "whoever has the address may send" if left.anyone else "nobody may send"
    print(f"{arguments.id} is revoked" + ("" if left.entries else f", and was the last one: {who}"))
    return 0


def next_id(keys: "Keys", key_id: str) -> str:
    """Return the id of what comes after *key_id*: ``web-2`` after ``web``, the first that is free."""
    base, dash, number = key_id.rpartition("-")
    if not (dash and number.isdecimal()):
        base, number = key_id, "1"
    taken = {each.id for each in keys.entries}
    after = int(number) + 1
    while f"{base}-{after}" in taken:
        after += 1
    return f"{base}-{after}"


@contextmanager
def _store(arguments: argparse.Namespace) -> Iterator[KeyStore]:
    """Open the keys that are meant, for this command alone where they are on this machine. Raises: ConfigError."""
    name = aws_stack(arguments)
    if arguments.file is not None:
        if arguments.target is not None:
            raise ConfigError("--file and --target: which of the two?")
        yield FileKeys(arguments.file)
        return
    if name is not None:
        from infra.aws.collector_keys import OUTPUT, ParameterKeys
        from infra.aws.stacks import aws_client, find_stack

        parameter = find_stack(name, arguments.region).output(OUTPUT)
        yield ParameterKeys(aws_client("ssm", arguments.region), parameter)
        return
    from infra.local.stack.home import Home
    from infra.local.stack.keys import change_keys, read_keys
    from infra.local.stack.lock import hold
    from infra.local.stack.prepare import make_home

    home = Home.of(os.environ)
    if arguments.run is run_list:  # which makes nothing
        yield HomeKeys(put=lambda _: None, get=lambda: read_keys(home))
        return
    make_home(home)
    with hold(home.update_lock_file, "keys"):
        yield HomeKeys(put=lambda keys: change_keys(home, keys), get=lambda: read_keys(home))


def _until(text: str | None, now_ms: int, option: str) -> int | None:
    if text is None:
        return None
    try:
        return now_ms + parse_duration(text)
    except ValueError as error:
        raise ConfigError(f"{option} {text!r}: {error}") from error


def _told(key: "Key", now_ms: int) -> str:
    sources = ", ".join(sorted(key.sources)) if key.sources is not None else "every source"
    origins = f", from pages of {', '.join(sorted(key.origins))}" if key.origins is not None else ""
    if key.expires_ms is None:
        until = "until it is revoked"
    else:
        until = f"{'until' if key.holds(now_ms) else 'EXPIRED at'} {_instant(key.expires_ms)}"
    return f"{key.id}: for {sources}{origins}, {until}"


def _instant(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _say(text: str) -> None:
    print(f"streamgage: {text}", file=sys.stderr)
