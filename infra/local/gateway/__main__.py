"""The process of the gateway: ``python -m infra.local.gateway --config FILE --credentials FILE``."""

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType

from infra.local.gateway.config import load
from infra.local.gateway.process import GatewayProcess
from infra.local.http.descriptors import allow_many_files
from infra.local.http.secret import read_credentials
from streamgage.errors import ConfigError


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT, or until the parent has gone; return the exit status."""
    parser = argparse.ArgumentParser(prog="infra.local.gateway", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="JSON: infra.local.gateway.config")
    parser.add_argument(
        "--credentials", type=Path, required=True, help="the home's; its base path is of them"
    )
    options = parser.parse_args(arguments)
    allow_many_files()
    try:
        process = GatewayProcess(
            load(options.config),
            credentials=read_credentials(options.credentials),
            config_file=options.config,
        )
    except ConfigError as error:
        for problem in error.problems:
            print(f"gateway: {problem}", file=sys.stderr)
        return 2

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        process.stop()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    process.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
