"""Names and ARNs that the resources of a template get, so that its policies can be read as AWS will read them."""

from collections.abc import Mapping
from typing import Any

from infra.template.lint.resolve import PSEUDO

_ARN = "arn:{partition}:{service}:{region}:{account}:{resource}"
BUCKET = "AWS::S3::Bucket"
# Type → (service, resource part of the ARN). S3's has neither region nor account.
_FORMS = {
    "AWS::CloudWatch::Alarm": ("cloudwatch", "alarm:{name}"),
    "AWS::DynamoDB::Table": ("dynamodb", "table/{name}"),
    "AWS::IAM::Role": ("iam", "role/{name}"),
    "AWS::Kinesis::Stream": ("kinesis", "stream/{name}"),
    "AWS::Lambda::Function": ("lambda", "function:{name}"),
    "AWS::Logs::LogGroup": ("logs", "log-group:{name}:*"),
    "AWS::SNS::Topic": ("sns", "{name}"),
    "AWS::SQS::Queue": ("sqs", "{name}"),
}


def name_of(logical_id: str, kind: str = "") -> str:
    """Return the name of a resource of type *kind*: CloudFormation's, without its random end; a bucket's in lower case."""
    name = f"{PSEUDO['AWS::StackName']}-{logical_id}"
    return name.lower() if kind == BUCKET else name


def arns_of(template: Mapping[str, Any]) -> dict[str, str]:
    """Return the ARN of each resource of *template* that has one of a form known here, by its logical id."""
    return {
        logical_id: arn
        for logical_id, resource in template["Resources"].items()
        if (arn := _arn(logical_id, resource["Type"])) is not None
    }


def refs_of(template: Mapping[str, Any]) -> dict[str, str]:
    """Return what Ref gives for each resource of *template*: its name, or for a topic its ARN."""
    arns = arns_of(template)
    return {
        logical_id: arns[logical_id]
        if resource["Type"] == "AWS::SNS::Topic"
        else name_of(logical_id, resource["Type"])
        for logical_id, resource in template["Resources"].items()
    }


def _arn(logical_id: str, kind: str) -> str | None:
    name = name_of(logical_id, kind)
    if kind == BUCKET:
        return f"arn:{PSEUDO['AWS::Partition']}:s3:::{name}"
    if kind not in _FORMS:
        return None
    service, resource = _FORMS[kind]
    return _ARN.format(
        partition=PSEUDO["AWS::Partition"],
        service=service,
        region="" if service == "iam" else PSEUDO["AWS::Region"],
        account=PSEUDO["AWS::AccountId"],
        resource=resource.format(name=name),
    )
