"""What of the template exists only on AWS: what the emulator does not have, and what we run ourselves in its place.

The one list of it. A test asks the emulator about each entry, and that it creates everything else.
"""

from collections.abc import Mapping
from typing import Any

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
}
# MiniStack 1.5.33: "Properties.Metrics (metric math) is not supported".
METRIC_MATH = "the emulator has no alarms on metric math"


def why_only_on_aws(resource: Mapping[str, Any]) -> str | None:
    """Return why a *resource* of the template does not exist on this machine; None where it does."""
    kind: str = resource["Type"]
    if kind == "AWS::CloudWatch::Alarm" and "Metrics" in resource["Properties"]:
        return METRIC_MATH
    return REFUSED_TYPES.get(kind) or OURS_TYPES.get(kind)
