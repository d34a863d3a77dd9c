"""Mistakes to plant in tests/infra/templates/sound.yaml: each is refused, at its line, by one rule."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SOUND = Path(__file__).parents[1] / "infra" / "templates" / "sound.yaml"


@dataclass(frozen=True)
class Mistake:
    """*old* stands in the template exactly once, *new* in its place; *at* is on the line that is told, else *new*'s.

    ``given`` are parameters under which it matters.
    """

    rule: str
    old: str
    new: str
    at: str = ""
    given: Mapping[str, str] = field(default_factory=dict)

    def planted(self) -> str:
        """Return the template with this mistake."""
        text = SOUND.read_text(encoding="utf-8")
        assert text.count(self.old) == 1, f"{self.old!r} stands {text.count(self.old)} times"
        return text.replace(self.old, self.new)

    def line(self) -> int:
        """Return the line, from 1, that a finding names."""
        text = self.planted()
        mark = self.at or self.new
        assert text.count(mark) == 1, f"{mark!r} stands {text.count(mark)} times"
        return text[: text.index(mark)].count("\n") + 1


# What is not said at all is told at the thing that should say it.
PROPERTIES = "          Properties:\n            Stream: !GetAtt Stream.Arn"
DATA = "    DeletionPolicy: Retain\n    UpdateReplacePolicy: Retain\n"
BLOCKS = (
    "{BlockPublicAcls: true, BlockPublicPolicy: true, IgnorePublicAcls: true, RestrictPublicBuckets: true}"
)

MISTAKES = (
    Mistake(
        "SG001",
        "STREAMGAGE_LANES: !If [Parallel, partition_key, shard]",
        "STREAMGAGE_LANES: shard",
        "ParallelizationFactor:",
        {"Factor": "2"},
    ),
    Mistake(
        "SG001",
        "          STREAMGAGE_LANES: !If [Parallel, partition_key, shard]\n",
        "",
        "ParallelizationFactor:",
        {"Factor": "2"},
    ),
    Mistake(
        "SG003",
        "            DestinationConfig: {OnFailure: {Type: S3, Destination: !GetAtt Bucket.Arn}}\n",
        "",
        PROPERTIES,
    ),
    Mistake(
        "SG004",
        "MaximumRetryAttempts: 10000\n            MaximumRecordAgeInSeconds: 21600",
        "MaximumRetryAttempts: -1\n            MaximumRecordAgeInSeconds: -1",
        "MaximumRecordAgeInSeconds",
    ),
    Mistake(
        "SG004",
        "            MaximumRetryAttempts: 10000\n            MaximumRecordAgeInSeconds: 21600\n",
        "",
        PROPERTIES,
    ),
    Mistake(
        "SG005", "{Type: S3, Destination: !GetAtt Bucket.Arn}", "{Type: SQS, Destination: !GetAtt Queue.Arn}"
    ),
    Mistake("SG005", "{Type: S3, Destination: !GetAtt Bucket.Arn}", "{Type: SNS, Destination: !Ref Topic}"),
    Mistake(
        "SG005",
        "{Type: S3, Destination: !GetAtt Bucket.Arn}",
        "{Type: SQS, Destination: 'arn:aws:sqs:eu-west-1:000000000000:dead'}",
    ),
    Mistake("SG006", "            FunctionResponseTypes: [ReportBatchItemFailures]\n", "", PROPERTIES),
    Mistake("SG007", "BisectBatchOnFunctionError: true", "BisectBatchOnFunctionError: false"),
    Mistake("SG007", "            BisectBatchOnFunctionError: true\n", "", PROPERTIES),
    Mistake("SG008", "MaximumRecordAgeInSeconds: 21600", "MaximumRecordAgeInSeconds: 86400"),
    Mistake(
        "SG009",
        "RetentionPeriodHours: 24",
        "RetentionPeriodHours: 714  # with 6 hours of age exactly 30 days",
    ),
    Mistake("SG010", "MaximumRecordAgeInSeconds: 21600", "MaximumRecordAgeInSeconds: 899"),
    Mistake("SG011", "MaximumRetryAttempts: 10000", "MaximumRetryAttempts: 3"),
    Mistake(
        "SG012",
        "      Timeout: 60\n",
        "      Timeout: 60\n      ReservedConcurrentExecutions: 1\n",
        "ReservedConcurrentExecutions",
    ),
    Mistake(
        "SG013",
        "Handler: processors.aggregate.function.handler",
        "Handler: app.handler",
        "FunctionResponseTypes",
    ),
    Mistake("SG014", "MaximumBatchingWindowInSeconds: 5", "MaximumBatchingWindowInSeconds: 60"),
    Mistake(
        "SG015",
        "BatchSize: 10000",
        "BatchSize: 10000\n            TumblingWindowInSeconds: 60",
        "TumblingWindowInSeconds",
    ),
    Mistake(
        "SG016",
        "      AutoPublishAlias: live\n      DeploymentPreference:\n        Type: Canary10Percent10Minutes\n"
        "        Alarms: [!Ref Errors]\n        Role: !GetAtt Role.Arn\n",
        "",
        "SnapStart",
    ),
    *(
        Mistake("SG019", "StartingPosition: TRIM_HORIZON", f"StartingPosition: {each}")
        for each in ("LATEST", "latest", "AT_TIMESTAMP", "BEGINNING")
    ),
    Mistake(
        "SG017",
        "BatchSize: 10000",
        """BatchSize: 10000
            FilterCriteria: {Filters: [{Pattern: '{"data": {"celsius": [{"numeric": [">", 90]}]}}'}]}""",
        "FilterCriteria",
    ),
    *(
        Mistake(
            "SG018",
            "BatchSize: 10000",
            f"BatchSize: 10000\n            FilterCriteria: {{Filters: [{filters}]}}",
            "FilterCriteria",
        )
        for filters in (
            """{Pattern: '{"partitionKey": ["k"]}'}""",
            """{Pattern: '{"kinesis": {"partitionKey": ["k"]}}'}""",
            """{Pattern: '{"partitionKey": []}'}""",
            """{Pattern: 'error'}""",
            """{Pattern: {data: {celsius: [1]}}}""",
        )
    ),
    Mistake(
        "SG020",
        "      TimeToLiveSpecification: {AttributeName: expires, Enabled: true}\n",
        "",
        "    Properties:\n      BillingMode",
    ),
    Mistake("SG020", "{AttributeName: expires, Enabled: true}", "{AttributeName: ttl, Enabled: true}"),
    Mistake("SG020", "{AttributeName: expires, Enabled: true}", "{AttributeName: expires, Enabled: false}"),
    Mistake(
        "SG021",
        "{AttributeName: sk, AttributeType: S}",
        "{AttributeName: sk, AttributeType: N}",
        "      KeySchema:",
    ),
    Mistake("SG021", "        - {AttributeName: sk, KeyType: RANGE}\n", "", "      KeySchema:"),
    *(
        Mistake("SG022", f"Type: AWS::{kind}\n{DATA}", f"Type: AWS::{kind}\n{left}", at)
        for kind in ("Kinesis::Stream", "DynamoDB::Table", "S3::Bucket", "SQS::Queue")
        for left, at in (
            (
                "    DeletionPolicy: Delete\n    UpdateReplacePolicy: Retain\n",
                "    DeletionPolicy: Delete\n    UpdateReplacePolicy: Retain",
            ),
            ("    DeletionPolicy: Retain\n", f"  {kind.split('::')[1]}:\n    Type"),
        )
    ),
    Mistake(
        "SG023",
        "      StreamEncryption: {EncryptionType: KMS, KeyId: alias/aws/kinesis}\n",
        "",
        "    Properties:\n      ShardCount: 2",
    ),
    Mistake("SG023", "SqsManagedSseEnabled: true", "SqsManagedSseEnabled: false"),
    Mistake(
        "SG023",
        "      BucketEncryption:\n        ServerSideEncryptionConfiguration: [{ServerSideEncryptionByDefault: {SSEAlgorithm: AES256}}]\n",
        "",
        "    Properties:\n      PublicAccessBlock",
    ),
    Mistake(
        "SG024",
        BLOCKS,
        BLOCKS.replace("BlockPublicPolicy: true", "BlockPublicPolicy: false"),
        "PublicAccessBlockConfiguration",
    ),
    Mistake(
        "SG024",
        "    Properties:\n      PublicAccess",
        "    Properties:\n      AccessControl: PublicRead\n      PublicAccess",
        "AccessControl",
    ),
    Mistake(
        "SG025",
        '            Condition: {Bool: {"aws:SecureTransport": "false"}}\n',
        '          - {Effect: Allow, Principal: {AWS: "*"}, Action: "sqs:SendMessage", Resource: !GetAtt Queue.Arn}\n',
    ),
    Mistake(
        "SG026",
        "PointInTimeRecoveryEnabled: true",
        "PointInTimeRecoveryEnabled: false",
        "PointInTimeRecoverySpecification",
    ),
    Mistake("SG030", 'Action: "dynamodb:PutItem"', 'Action: ["dynamodb:PutItem", "dynamodb:Batch*"]'),
    Mistake("SG030", 'Action: "dynamodb:PutItem"', 'NotAction: "dynamodb:DeleteTable"'),
    Mistake(
        "SG031",
        "                Resource: !GetAtt Table.Arn",
        '                Resource: "*"',
        '                Resource: "*"',
    ),
    Mistake(
        "SG031",
        "                Resource: !GetAtt Table.Arn",
        '                Resource: !Sub "arn:${AWS::Partition}:dynamodb:*:*:table/*"',
    ),
    Mistake("SG031", 'Action: "xray:PutTraceSegments"', 'Action: ["xray:PutTraceSegments", "sns:Publish"]'),
    Mistake(
        "SG031",
        'Action: "sns:Publish", Resource: !Ref Topic',
        'Action: "sns:Publish", Resource: "*"',
        given={"Mail": "someone@example.com"},  # inside of !If
    ),
    Mistake(
        "SG040",
        "      EvaluationPeriods: 5\n      AlarmActions: [!Ref Topic]\n",
        "      EvaluationPeriods: 5\n",
        "    Properties:\n      Namespace: AWS/Lambda\n      MetricName: Errors",
    ),
    Mistake(
        "SG040", "EvaluationPeriods: 5", "EvaluationPeriods: 5\n      ActionsEnabled: false", "ActionsEnabled"
    ),
    Mistake("SG041", "    Properties:\n      RetentionInDays: 30\n", "", "  Logs:\n"),
    Mistake("SG041", "      LoggingConfig: {LogGroup: !Ref Logs}\n", "", "    Properties:\n      CodeUri"),
    Mistake("SG042", "        Alarms: [!Ref Errors]\n", "", "  Count:\n"),
    Mistake("SG051", "!Equals [!Ref Factor, 9]", "!Equals [!Ref Factor, 1]", "Assert: !Not [!Equals"),
    Mistake("SG060", "AuthorizationType: JWT", "AuthorizationType: NONE"),
    Mistake(
        "SG060",
        "      AuthorizationType: JWT\n      AuthorizerId: !Ref Authorizer\n",
        "",
        "    Properties:\n      ApiId: !Ref Api\n      RouteKey",
    ),
    Mistake("SG060", ", AuthorizationType: AWS_IAM}", "}", "RouteKey: $connect"),
    Mistake("SG031", ":${Live}/*/POST", ":*/*/POST"),
    Mistake("SG061", ", Audience: [charts]}", "}", "JwtConfiguration:"),
    Mistake("SG062", "Timeout: 29", "Timeout: 31"),
    Mistake(
        "SG062",
        "IntegrationUri: !Ref Answer.Alias",
        "IntegrationUri: !Ref Answer.Alias\n      TimeoutInMillis: 28999",
        "Timeout: 29",
    ),
    Mistake("SG063", ", ThrottlingBurstLimit: 100}", "}", "DefaultRouteSettings:"),
    Mistake(
        "SG063",
        "      DefaultRouteSettings: {ThrottlingRateLimit: 50, ThrottlingBurstLimit: 100}\n",
        "",
        "    Properties:\n      ApiId: !Ref Api\n      StageName",
    ),
)
