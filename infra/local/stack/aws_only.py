"""What of the template exists only on AWS: what the emulator does not have, and what we run ourselves in its place.

The one list of it. A test asks the emulator about each entry, and that it creates everything else.
"""

from collections.abc import Mapping
from typing import Any

from streamgage.errors import ConfigError

# MiniStack 1.5.33 answers "Unrecognized resource types".
REFUSED_TYPES = {
    "AWS::ApplicationAutoScaling::ScalableTarget": "a table here takes what comes: its capacity is neither kept nor scaled",
    "AWS::ApplicationAutoScaling::ScalingPolicy": "a table here takes what comes: its capacity is neither kept nor scaled",
    "AWS::CodeDeploy::Application": "the emulator has no CodeDeploy: a new bundle takes over at once",
    "AWS::CodeDeploy::DeploymentGroup": "the emulator has no CodeDeploy: a new bundle takes over at once",
}
# The function is ours, and there is one of it.
OURS_TYPES = {
    "AWS::Lambda::Version": "the local function has one version",
    "AWS::Lambda::Alias": "the local function has one version",
    "AWS::Lambda::Permission": "who invokes a function here is ours",
    "AWS::CloudWatch::Dashboard": "what is measured here is for Prometheus, and infra/grafana draws it",
}
# Conditions of the template that never hold here (see check_parameters): what stands under them is left out.
CONDITIONS = {"Paged": "the gateway serves the page, to whoever has its address: nobody signs in"}
# MiniStack 1.5.33: "Properties.Metrics (metric math) is not supported".
METRIC_MATH = "the emulator has no alarms on metric math"
# A consumer beside another one shares what the other one has; here each stack has a home, a stream and tables of its own.
SHARED_PARAMETERS = ("SharedStreamArn", "SharedTable")
# The page and who may sign in to it, as CloudFront and Cognito have them.
PAGE_PARAMETERS = ("PageDomain", "PageCertificateArn", "PageWebAclArn")


def check_parameters(parameters: Mapping[str, str]) -> None:
    """Refuse what would be passed over on this machine. Raises: ConfigError."""
    shared = [name for name in SHARED_PARAMETERS if parameters.get(name)]
    if shared:
        raise ConfigError(
            f"{' and '.join(shared)}: only on AWS, where a consumer may stand beside another. Here each has a home of its own: "
            "STREAMGAGE_HOME=.streamgage-v2 streamgage up"
        )
    page = [name for name in PAGE_PARAMETERS if parameters.get(name)]
    page += ["Page"] * (parameters.get("Page") == "true") + ["SignIn"] * (
        parameters.get("SignIn", "none") != "none"
    )
    if page:
        raise ConfigError(
            f"{' and '.join(page)}: only on AWS. Here `up` serves the page itself, to whoever has the address that it prints"
        )


def why_only_on_aws(resource: Mapping[str, Any]) -> str | None:
    """Return why a *resource* of the template does not exist on this machine; None where it does."""
    kind: str = resource["Type"]
    if kind == "AWS::CloudWatch::Alarm" and "Metrics" in resource["Properties"]:
        return METRIC_MATH
    return CONDITIONS.get(resource.get("Condition", "")) or REFUSED_TYPES.get(kind) or OURS_TYPES.get(kind)
