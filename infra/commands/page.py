"""The page of a stack, as ``deploy`` and ``diff`` see it: whether what the bucket shows is this checkout's, and to put it there."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamgage.errors import ConfigError

if TYPE_CHECKING:
    from infra.aws.deploy.deployment import Wanted
    from infra.aws.deploy.page import PageBucket, PageVersion
    from infra.commands.account import Surroundings

_NEEDED = ("PageUrl", "PageBucketName", "PageClientId", "SignInUrl", "UserPoolId")


@dataclass(frozen=True, slots=True)
class PageUpload:
    """The page of the stack that is *wanted*, which has one: see ``of``."""

    wanted: "Wanted"
    arguments: argparse.Namespace
    around: "Surroundings"

    @classmethod
    def of(
        cls, wanted: "Wanted", arguments: argparse.Namespace, around: "Surroundings"
    ) -> "PageUpload | None":
        """Return the page; None where the stack is to have none."""
        return cls(wanted, arguments, around) if wanted.parameters.get("Page") == "true" else None

    def news(self) -> str:
        """Return what would be uploaded now, for a person; "" where the bucket shows this page."""
        outputs = self._outputs()
        if not outputs.keys() >= {*_NEEDED}:
            return "page: would be uploaded"
        bucket, version = self._found(outputs)
        lacking = bucket.lacks(version)
        return f"page: would change to version {version.name}, {len(lacking)} files" if lacking else ""

    def put(self) -> str:
        """Upload what the bucket lacks, and return the page's address. Call it once the stack stands.

        Raises:
            ConfigError: the stack has not what a page needs; nothing was uploaded.
        """
        outputs = self._outputs()
        if missing := [each for each in _NEEDED if each not in outputs]:
            raise ConfigError(
                f"stack {self.wanted.stack} has no output {', '.join(missing)}: its page cannot be uploaded. "
                "Is the template of this version? See `streamgage diff`"
            )
        bucket, version = self._found(outputs)
        if lacking := bucket.lacks(version):
            bucket.put(lacking, say=self.around.terminal.say)
        return outputs["PageUrl"]

    def _outputs(self) -> Mapping[str, str]:
        from infra.aws.deploy.cloudformation import BotoStacks

        stack = BotoStacks(self.around.client("cloudformation", self.arguments.region)).read(
            self.wanted.stack
        )
        return {} if stack is None else stack.outputs

    def _found(self, outputs: Mapping[str, str]) -> "tuple[PageBucket, PageVersion]":
        from infra.aws.deploy.artifacts import account_of
        from infra.aws.deploy.page import PageBucket, SignIn, version_of
        from infra.template.page import page_files

        account = account_of(self.around.client("sts", self.arguments.region))
        sign_in = SignIn(
            url=outputs["SignInUrl"],
            issuer=f"https://cognito-idp.{account.region}.amazonaws.com/{outputs['UserPoolId']}",
            client_id=outputs["PageClientId"],
            by_keys=bool(self.wanted.parameters.get("JwtKeysClaim")),
        )
        bucket = PageBucket(
            self.around.client("s3", self.arguments.region),
            bucket=outputs["PageBucketName"],
            owner=account.number,
        )
        return bucket, version_of(page_files(), sign_in)
