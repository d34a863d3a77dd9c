"""The function's code as a local stack runs it: the bundle that would be deployed, and the runtime client beside it."""

from infra.aws.bundle.dists import build_runtime_dir
from infra.aws.bundle.files import build_bundle
from infra.local.stack.supervisor import Code

CODE = Code(build_bundle, build_runtime_dir)
