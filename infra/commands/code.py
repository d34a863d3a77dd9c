"""The functions' code as a local stack runs it: the bundles that would be deployed, and the runtime client beside them."""

from functools import partial
from pathlib import Path

from infra.aws.bundle.dists import build_runtime_dir
from infra.aws.bundle.files import build_bundle
from infra.aws.bundle.functions import API, of_code
from infra.local.stack.supervisor import Code


def _build_of_handler(folder: Path, definition: Path, handler: str) -> None:
    """Make *folder* the bundle of the function of ours that begins at *handler*. Raises: ConfigError: there is none."""
    (function,) = of_code({handler: handler}).values()
    build_bundle(folder, definition, function)


CODE = Code(
    build_bundle, build_runtime_dir, api=partial(build_bundle, function=API), of_handler=_build_of_handler
)
