"""DynamoDB Local, AWS's own engine: fetched from Maven Central by its name, bound to loopback, its data on disk.

``python -m infra.local.stack.dynamodb_local --port P --data DIR`` becomes it: the process that is started is the JVM.

AWS's own launcher binds every interface and offers no option against that. So Jetty, its web server, is told by a
configuration file to put AWS's request handler behind a connector on 127.0.0.1; and no telemetry is ever set up.
Source: its ``-help``, and https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/DynamoDBLocal.UsageNotes.html
(checked 2026-11-21).
"""

import argparse
import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

from infra.local.http.secret import read_credentials
from infra.template.translate import REGION
from streamgage.errors import ConfigError

# The newest of the current line (3.x, Java 17) whose whole dependency tree Maven Central gave us on 2026-11-21: of
# 3.3.1, four jars of its AWS SDK (2.48.3) were not to be had.
VERSION = "3.1.0"
JAVA = 17
MARK = "streamgage.dynamodb"
"""In the command line of every process started here: tells it from a stranger that got its process id."""

_PR_SET_PDEATHSIG = 1  # prctl(2)
_JETTY = "12.0.14"  # what VERSION depends on
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_SHARED = "shared-local-instance.db"
_ATTEMPTS = 2
_FETCH_S = 300
_PACKAGE = "software.amazon.dynamodb.services.local.server"
_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>streamgage</groupId>
  <artifactId>dynamodb-local</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>software.amazon.dynamodb</groupId>
      <artifactId>DynamoDBLocal</artifactId>
      <version>{VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.eclipse.jetty</groupId>
      <artifactId>jetty-xml</artifactId>
      <version>{_JETTY}</version>
    </dependency>
  </dependencies>
</project>
"""
# A page whose name was rebound to this machine sends that name as Host: it finds nothing at all. A form of a page cannot sign,
# and without CORS no script may. Another user of the machine signs with a key of his own, and finds a database of his own.
# The document type is read from Jetty's own jar. The second argument of the server handler is CORS: none. Those of the
# request handler are its port (unused here), in memory, folder, one database for all credentials, delays.
_SERVER = f"""<!DOCTYPE Configure PUBLIC "-//Jetty//Configure//EN" "https://jetty.org/configure_10_0.dtd">
<Configure id="server" class="org.eclipse.jetty.server.Server">
  <Call name="addConnector">
    <Arg>
      <New class="org.eclipse.jetty.server.ServerConnector">
        <Arg name="server"><Ref refid="server"/></Arg>
        <Set name="host">127.0.0.1</Set>
        <Set name="port" type="int"><Property name="{MARK}.port"/></Set>
      </New>
    </Arg>
  </Call>
  <Set name="handler">
    <New class="org.eclipse.jetty.server.handler.ContextHandler">
      <Set name="virtualHosts">
        <Array type="java.lang.String"><Item>127.0.0.1</Item><Item>localhost</Item></Array>
      </Set>
      <Set name="handler">
        <New class="{_PACKAGE}.LocalDynamoDBServerHandler">
          <Arg>
            <New class="{_PACKAGE}.LocalDynamoDBRequestHandler">
              <Arg type="int">0</Arg>
              <Arg type="boolean"><Property name="{MARK}.in_memory"/></Arg>
              <Arg><Property name="{MARK}.data"/></Arg>
              <Arg type="boolean"><Property name="{MARK}.shared"/></Arg>
              <Arg type="boolean">false</Arg>
            </New>
          </Arg>
          <Arg/>
        </New>
      </Set>
    </New>
  </Set>
</Configure>
"""


def unavailable() -> str | None:
    """Return why DynamoDB Local cannot run on this machine, or None where it can. Fetches nothing."""
    java = shutil.which("java")
    if java is None:
        return f"DynamoDB Local needs Java {JAVA} or newer, and there is no `java` on the PATH"
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', said)
    if version is None or int(version[1]) < JAVA:
        return f"DynamoDB Local needs Java {JAVA} or newer; `java -version` says: {said.strip() or 'nothing'}"
    if not _is_installed(folder(os.environ)) and shutil.which("mvn") is None:
        return "DynamoDB Local is fetched from Maven Central, and there is no `mvn` on the PATH"
    return None


def folder(environment: Mapping[str, str]) -> Path:
    """Return where DynamoDB Local is kept once it was fetched."""
    cache = environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME") or Path.home()) / ".cache"
    return Path(cache) / "streamgage" / "dynamodb-local" / VERSION


def install(*, say: Callable[[str], None] = lambda _: None) -> Path:
    """Fetch DynamoDB Local where it was not fetched before; return its folder.

    Raises:
        ConfigError: it cannot run here, or Maven did not get it; the end of what Maven said is in the message.
    """
    reason = unavailable()
    if reason is not None:
        raise ConfigError(reason)
    target = folder(os.environ)
    if not _is_installed(target):
        say(f"fetching DynamoDB Local {VERSION} from Maven Central, once (48 MB)")
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as scratch:
            _fetch(Path(scratch))
            if not _is_installed(target):  # another process may have been faster
                shutil.rmtree(target, ignore_errors=True)
                (Path(scratch) / "whole").replace(target)
    configuration = target / "server.xml"
    if not configuration.exists() or configuration.read_text(encoding="utf-8") != _SERVER:
        partial = target / f"server.xml.{os.getpid()}"
        partial.write_text(_SERVER, encoding="utf-8")
        partial.replace(configuration)
    return target


def command(installed: Path, *, port: int, data: Path | None, shared: bool = True) -> list[str]:
    """Return the command that serves on loopback *port*, with its tables in folder *data*, or in memory.

    Not *shared*, each access key and region has a database of its own: who does not know the key of a home sees none of it.
    """
    return [
        shutil.which("java") or "java",
        f"-Djava.library.path={installed / 'lib'}",  # SQLite is native
        "-XX:+UseSerialGC",  # the processes of the stack share few cores
        "-Xmx1g",
        "-cp",
        str(installed / "lib" / "*"),
        "org.eclipse.jetty.xml.XmlConfiguration",
        f"{MARK}.port={port}",
        f"{MARK}.in_memory={str(data is None).lower()}",
        f"{MARK}.shared={str(shared).lower()}",
        *([f"{MARK}.data={data}"] if data is not None else []),
        str(installed / "server.xml"),
    ]


def adopt(data: Path, access_key: str) -> None:
    """Give the one database in folder *data* the name of *access_key*: before, it was shared, or the home had another key.

    Raises:
        ConfigError: there are several, and which is the home's is not known.
    """
    wanted = data / f"{access_key}_{REGION}.db"
    found = sorted(data.glob("*.db"))
    if not found or wanted in found:
        return
    before = next((each for each in found if each.name == _SHARED), found[0])
    if before.name != _SHARED and len(found) > 1:
        raise ConfigError(
            f"{data} holds several databases and none of this home's key: rename the one that is yours to {wanted.name}"
        )
    for each in sorted(
        data.glob(f"{before.name}*"), reverse=True
    ):  # SQLite's journal first: it is of the file so named
        each.rename(data / f"{wanted.name}{each.name.removeprefix(before.name)}")


def answers(url: str) -> bool:
    """Tell whether DynamoDB Local serves at *url*: it refuses a request that nobody signed."""
    try:
        with urllib.request.urlopen(url, timeout=1):  # noqa: S310 - a loopback address of our own
            return False
    except urllib.error.HTTPError as refusal:
        with refusal:
            return "x-amzn-RequestId" in refusal.headers
    except OSError:
        return False


def _is_installed(target: Path) -> bool:
    return (target / "lib" / f"DynamoDBLocal-{VERSION}.jar").exists()


def _fetch(scratch: Path) -> None:
    """Put the jars and native libraries into scratch/whole/lib."""
    whole = scratch / "whole"
    whole.mkdir()
    (scratch / "pom.xml").write_text(_POM, encoding="utf-8")
    mvn = ["mvn", "-B", "-q", "-f", str(scratch / "pom.xml"), _COPY, "-DincludeScope=runtime"]
    said = ""
    for _ in range(_ATTEMPTS):  # a second one gets over a passing fault of the network
        try:
            done = subprocess.run(
                [*mvn, f"-DoutputDirectory={whole / 'lib'}"],
                capture_output=True,
                text=True,
                timeout=_FETCH_S,
                stdin=subprocess.DEVNULL,
                check=False,
            )
        except subprocess.TimeoutExpired:
            said = f"it took longer than {_FETCH_S} s"
            continue
        if done.returncode == 0 and _is_installed(whole):
            return
        said = (done.stdout + done.stderr).strip()[-800:]
    raise ConfigError(f"Maven did not get DynamoDB Local {VERSION}, tried {_ATTEMPTS} times: {said}")


def _main() -> None:
    parser = argparse.ArgumentParser(description="Become DynamoDB Local, on loopback.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", type=Path, help="default: in memory")
    parser.add_argument(
        "--credentials", type=Path, help="whose tables they are; without it they are everybody's"
    )
    arguments = parser.parse_args()
    if arguments.data is not None:
        arguments.data.mkdir(parents=True, exist_ok=True)
    if arguments.data is not None and arguments.credentials is not None:
        adopt(arguments.data, read_credentials(arguments.credentials).access_key)
    shared = arguments.credentials is None
    wanted = command(install(), port=arguments.port, data=arguments.data, shared=shared)
    if sys.platform == "linux":  # the JVM reads no pipe; elsewhere the next `up` or `down` ends it
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    os.execv(wanted[0], wanted)  # noqa: S606 - the Java that was found, with our own arguments


if __name__ == "__main__":
    _main()
