"""The functions' code as a local stack runs it: the bundles that would be deployed, and the runtime client beside them."""

from functools import partial

from infra.aws.bundle.dists import build_runtime_dir
from infra.aws.bundle.files import build_bundle
from infra.aws.bundle.functions import API
from infra.local.stack.supervisor import Code

CODE = Code(build_bundle, build_runtime_dir, api=partial(build_bundle, function=API))
