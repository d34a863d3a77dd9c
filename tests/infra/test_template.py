"""The SAM template: what must hold of it for every choice of parameters, and mistakes that must not pass."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from infra.aws.deploy.artifacts import TEMPLATE_BODY_BYTES
from infra.local.stack.aws_only import CONDITIONS
from infra.local.stack.cloudformation import _body
from infra.local.stack.template import divide, resolve
from infra.template.read import TEMPLATE
from infra.template.translate import translate
from streamgage.errors import ConfigError
from support.collector_rules import (
    COLLECTOR_RULES,
    batches_are_remembered_encrypted_and_forgotten,
    collecting_is_bounded,
    events_come_in_where_they_are_wanted_and_can_be,
    pages_may_read_when_to_come_again,
    the_collector_is_told_what_it_reads,
    what_was_not_durable_is_counted,
    who_sends_is_asked_by_the_function_and_nobody_else_calls_it,
)
from support.http_rules import (
    HTTP_RULES,
    an_api_is_bounded_and_written_down,
    no_api_means_none,
    questions_are_answered_to_those_who_may_ask,
    routes_are_these_and_may_call_the_function,
)
from support.live_rules import (
    LIVE_RULES,
    both_functions_are_told_what_they_read,
    connecting_is_bounded,
    news_does_not_stay_behind_old_news,
    there_are_live_updates_where_they_are_wanted_and_can_be,
    who_connects_is_asked_who_he_is,
    who_is_connected_is_encrypted_and_forgotten,
)
from support.page_rules import (
    PAGE_RULES,
    a_browser_is_told_the_same_as_on_a_laptop,
    files_are_read_by_this_distribution_alone,
    no_page_means_none,
    only_who_was_invited_signs_in_and_by_code,
    the_edge_keeps_no_answer_and_takes_no_token_in_the_clear,
    the_page_is_where_the_parameters_say,
    the_socket_is_under_the_pages_address,
)
from support.shares import shared
from support.template_rules import (
    BESIDE,
    COLLECTED,
    NAMED,
    PAGE,
    PAGED,
    RULES,
    SERVED,
    TOKENS,
    TURNED,
    UNTOLD,
    VERSION,
    Deployed,
    Rule,
    a_changed_parameter_is_a_new_version,
    another_stacks_data_is_used_and_not_made,
    batches_are_never_lost_in_silence,
    capacity_follows_the_load,
    combinations,
    data_is_encrypted,
    data_outlives_the_stack,
    decide,
    deployments_are_taken_back,
    devices_reach_the_stream_by_mqtt,
    every_alarm_tells_somebody,
    lanes_follow_the_factor,
    nothing_is_public,
    outputs_are_those_that_are_read,
    parameters_explain_themselves,
    roles_are_exact,
    the_environment_is_what_the_function_reads,
    the_mapping_is_whole,
)

ALL = (*RULES, *HTTP_RULES, *PAGE_RULES, *LIVE_RULES, *COLLECTOR_RULES)


@pytest.fixture(scope="module")
def deployments() -> list[Deployed]:
    """The template for each combination of its conditions."""
    template = translate(TEMPLATE)
    return [decide(template, each) for each in combinations()]


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.__name__)
def test_it_holds_for_every_combination_of_conditions(rule: Rule, deployments: list[Deployed]) -> None:
    assert [problem for each in deployments for problem in rule(each)] == []


def test_the_combinations_turn_every_condition(deployments: list[Deployed]) -> None:
    """A condition of a parameter that is not in the table above would be tried one way only."""
    conditions = translate(TEMPLATE)["Conditions"]
    served = {name for each in (*SERVED, *PAGED, *COLLECTED) for name in each}
    assert set(re.findall(r'"Ref": "(\w+)"', json.dumps(conditions))) == {*TURNED, *BESIDE, *served, *UNTOLD}
    assert len(deployments) == 2 ** len(TURNED) + 2 * (2 ** len(BESIDE) - 1) + 2 * len(
        SERVED + PAGED
    ) + 4 + 2 * len(COLLECTED)
    assert len(
        {json.dumps([each.resources, each.outputs], sort_keys=True, default=str) for each in deployments}
    ) == len(deployments)


_FORGOTTEN = (
    "      TimeToLiveSpecification: {AttributeName: expires, Enabled: true}\n      SSESpecification:\n        SSEEnabled: true\n"
    "        SSEType: KMS\n        KMSMasterKeyId: !If [OwnKey, !Ref KeyArn, !Ref AWS::NoValue]\n\n"
)
# What is written in the template, what a mistake makes of it, and the rule that must see it.
MISTAKES: tuple[tuple[str, str, Rule], ...] = (
    ("    DeletionPolicy: Retain\n", "", data_outlives_the_stack),
    ("    UpdateReplacePolicy: Retain\n", "    UpdateReplacePolicy: Delete\n", data_outlives_the_stack),
    ("PointInTimeRecoveryEnabled: true", "PointInTimeRecoveryEnabled: false", data_outlives_the_stack),
    ("!If [Protected, true, false]", "false", data_outlives_the_stack),
    ("      RetentionInDays: !Ref LogRetentionDays\n", "", data_outlives_the_stack),
    ("!If [OwnKey, !Ref KeyArn, alias/aws/kinesis]", "alias/aws/kinesis", data_is_encrypted),
    ("        SSEEnabled: true\n", "        SSEEnabled: false\n", data_is_encrypted),
    ("SqsManagedSseEnabled: !If [OwnKey, !Ref AWS::NoValue, true]", "DelaySeconds: 0", data_is_encrypted),
    ('SSEAlgorithm: !If [OwnKey, "aws:kms", AES256]', "SSEAlgorithm: AES256", data_is_encrypted),
    ("BlockPublicPolicy: true", "BlockPublicPolicy: false", nothing_is_public),
    ("            Effect: Deny\n", "            Effect: Allow\n", nothing_is_public),
    ('"aws:SecureTransport": "false"', '"aws:SecureTransport": "true"', nothing_is_public),
    ("{redrivePermission: denyAll}", "{redrivePermission: allowAll}", nothing_is_public),
    ("- !GetAtt Aggregates.Arn", '- "*"', roles_are_exact),
    ('Action: "sqs:SendMessage"', 'Action: "sqs:*"', roles_are_exact),
    ("        Role: !GetAtt DeploymentRole.Arn\n", "", roles_are_exact),
    ("            FunctionResponseTypes: [ReportBatchItemFailures]\n", "", batches_are_never_lost_in_silence),
    ("BisectBatchOnFunctionError: true", "BisectBatchOnFunctionError: false", batches_are_never_lost_in_silence),
    ("Type: S3, Destination: !GetAtt FailedBatches.Arn", "Type: SQS, Destination: !GetAtt Quarantine.Arn",
     batches_are_never_lost_in_silence),
    ("    Default: 21600\n", "    Default: 604800\n", batches_are_never_lost_in_silence),
    ("MaximumRetryAttempts: 10000", "MaximumRetryAttempts: -1", batches_are_never_lost_in_silence),
    ("    Default: 24\n", "    Default: 6\n", batches_are_never_lost_in_silence),
    ("STREAMGAGE_RETENTION_HOURS: !Ref RetentionHours", 'STREAMGAGE_RETENTION_HOURS: "25"',
     batches_are_never_lost_in_silence),
    ("            MetricsConfig: {Metrics: [EventCount]}", "            #", batches_are_never_lost_in_silence),
    ("            TumblingWindowInSeconds: 0 ", "            #", the_mapping_is_whole),
    ("StartingPosition: !If [FromTime, AT_TIMESTAMP, TRIM_HORIZON]",
     "StartingPosition: !If [FromTime, AT_TIMESTAMP, LATEST]", the_mapping_is_whole),
    ("STREAMGAGE_LANES: !If [Parallel, partition_key, shard]", "STREAMGAGE_LANES: shard", lanes_follow_the_factor),
    ("  Parallel: !Not [!Equals [!Ref ParallelizationFactor, 1]]", "  Parallel: !Equals [!Ref ParallelizationFactor, 2]",
     lanes_follow_the_factor),
    ("lanes by ${Lanes}, ", "", a_changed_parameter_is_a_new_version),
    ('"${MemorySize} MB, ', '"', a_changed_parameter_is_a_new_version),
    (", ${Consumer}", "", a_changed_parameter_is_a_new_version),
    ("          STREAMGAGE_PIPELINE: pipeline.toml\n", "", the_environment_is_what_the_function_reads),
    ("          STREAMGAGE_PIPELINE: pipeline.toml\n",
     '          STREAMGAGE_PIPELINE: pipeline.toml\n          STREAMGAGE_DEBUG: "1"\n',
     the_environment_is_what_the_function_reads),
    ("        Alarms: [!Ref ErrorsAlarm, !Ref PoisonRatioAlarm]\n", "        Alarms: []\n", deployments_are_taken_back),
    ("      SnapStart: {ApplyOn: !Ref SnapStart}", "      SnapStart: {ApplyOn: None}", deployments_are_taken_back),
    ("      AlarmActions: [!Ref AlarmTopic]\n", "", every_alarm_tells_somebody),
    (" Runbook: docs/operations.md#errors", "", every_alarm_tells_somebody),
    ("    Condition: Mailed\n", "", every_alarm_tells_somebody),
    ('"${clientid()}"', '"${newuuid()}"', devices_reach_the_stream_by_mqtt),
    ("        ErrorAction:\n", "        Metadata:\n", devices_reach_the_stream_by_mqtt),
    ("    MinValue: 24\n", "", parameters_explain_themselves),
    ("    Description: Refuse to delete the table.\n", "", parameters_explain_themselves),
    ("  FunctionAlias:\n", "  Alias:\n", outputs_are_those_that_are_read),
    ("    Condition: OwnStream\n    DeletionPolicy", "    DeletionPolicy", another_stacks_data_is_used_and_not_made),
    ("            Stream: !If [OwnStream, !GetAtt Stream.Arn, !Ref SharedStreamArn]",
     "            Stream: !GetAtt Stream.Arn", another_stacks_data_is_used_and_not_made),
    ("STREAMGAGE_TABLE: !If [OwnTable, !Ref Aggregates, !Ref SharedTable]", "STREAMGAGE_TABLE: !Ref Aggregates",
     another_stacks_data_is_used_and_not_made),
    ("    Type: AWS::CloudWatch::Alarm\n    Condition: OwnTable\n", "    Type: AWS::CloudWatch::Alarm\n",
     another_stacks_data_is_used_and_not_made),
    ('"WriteThrottleEvents", "TableName", "${TableName}"', '"WriteThrottleEvents", "TableName", "${Aggregates}"',
     another_stacks_data_is_used_and_not_made),
    ("!If [Provisioned, PROVISIONED, PAY_PER_REQUEST]", "PROVISIONED", capacity_follows_the_load),
    ("MinCapacity: !Ref WriteCapacity", "MinCapacity: !Ref ReadCapacity", capacity_follows_the_load),
    ("        TargetValue: 70", "        TargetValue: 50", capacity_follows_the_load),
    ("DynamoDBReadCapacityUtilization", "DynamoDBWriteCapacityUtilization", capacity_follows_the_load),
    ("!And [!Condition OwnTable, !Not [!Equals [!Ref WriteCapacity, 0]]]", "!Not [!Equals [!Ref WriteCapacity, 0]]",
     capacity_follows_the_load),
    ("!If [Jwt, JWT, AWS_IAM]", "!If [Jwt, JWT, NONE]", questions_are_answered_to_those_who_may_ask),
    ("!If [Jwt, JWT, AWS_IAM]", "AWS_IAM", questions_are_answered_to_those_who_may_ask),
    (
        'Audience: !If [Paged, [!Ref PageClient], !Split [",", !Ref JwtAudience]]',
        "Audience: !If [Paged, [!Ref PageClient], [!Ref JwtAudience]]", questions_are_answered_to_those_who_may_ask),
    ('      AuthorizationScopes: !If [JwtScoped, !Split [",", !Ref JwtScopes], !Ref AWS::NoValue]\n', "",
     questions_are_answered_to_those_who_may_ask),
    ("ThrottlingRateLimit: !Ref ApiRate", "ThrottlingRateLimit: 10000", an_api_is_bounded_and_written_down),
    ("IntegrationUri: !Ref ApiFunction.Alias", "IntegrationUri: !GetAtt ApiFunction.Arn", an_api_is_bounded_and_written_down),
    ("      TimeoutInMillis: 30000\n", "      TimeoutInMillis: 10000\n", an_api_is_bounded_and_written_down),
    ('"path":"$context.path"', '"path":"$context.path?$context.queryString"', an_api_is_bounded_and_written_down),
    ("      ReservedConcurrentExecutions: !If [ApiReserved, !Ref ApiConcurrency, !Ref AWS::NoValue]\n", "",
     an_api_is_bounded_and_written_down),
    ("    Type: AWS::ApiGatewayV2::Stage\n    Condition: Served\n", "    Type: AWS::ApiGatewayV2::Stage\n",
     no_api_means_none),
    (":${HttpApi}/*/$default", ":*", routes_are_these_and_may_call_the_function),
    ("  PageHeaders:\n    Type: AWS::CloudFront::ResponseHeadersPolicy\n    Condition: Paged\n",
     "  PageHeaders:\n    Type: AWS::CloudFront::ResponseHeadersPolicy\n", no_page_means_none),
    ("script-src 'self'; style-src", "script-src 'self' 'unsafe-inline'; style-src", a_browser_is_told_the_same_as_on_a_laptop),
    ("FrameOption: DENY", "FrameOption: SAMEORIGIN", a_browser_is_told_the_same_as_on_a_laptop),
    ("          ResponseHeadersPolicyId: !Ref PageHeaders\n", "", a_browser_is_told_the_same_as_on_a_laptop),
    ("CachePolicyId: 4135ea2d-6df8-44a3-9df3-4b5a84be39ad # CachingDisabled",
     "CachePolicyId: 83da9c7e-98b4-4e11-a168-04f0df8e2c65", the_edge_keeps_no_answer_and_takes_no_token_in_the_clear),
    ("            ViewerProtocolPolicy: https-only\n", "            ViewerProtocolPolicy: redirect-to-https\n",
     the_edge_keeps_no_answer_and_takes_no_token_in_the_clear),
    ("            OriginAccessControlId: !Ref PageAccess\n", "", files_are_read_by_this_distribution_alone),
    ("distribution/${PageDistribution}", "distribution/*", files_are_read_by_this_distribution_alone),
    ('Action: "s3:GetObject"\n            Resource: !Sub "${PageBucket.Arn}/*"',
     'Action: ["s3:GetObject", "s3:PutObject"]\n            Resource: !Sub "${PageBucket.Arn}/*"',
     files_are_read_by_this_distribution_alone),
    ("TLSv1.2_2021", "TLSv1.1_2016", the_page_is_where_the_parameters_say),
    ("        WebACLId: !If [PageGuarded, !Ref PageWebAclArn, !Ref AWS::NoValue]\n", "", the_page_is_where_the_parameters_say),
    ('CallbackURLs: [!If [PageNamed, !Sub "https:', 'CallbackURLs: [!If [PageNamed, !Sub "http:', the_page_is_where_the_parameters_say),
    ("AllowAdminCreateUserOnly: true", "AllowAdminCreateUserOnly: false", only_who_was_invited_signs_in_and_by_code),
    ("AllowedOAuthFlows: [code]", "AllowedOAuthFlows: [code, implicit]", only_who_was_invited_signs_in_and_by_code),
    ("WriteAttributes: [email]", 'WriteAttributes: [email, "custom:keys"]', only_who_was_invited_signs_in_and_by_code),
    ("!If [Protected, ACTIVE, INACTIVE]", "INACTIVE", only_who_was_invited_signs_in_and_by_code),
    ("Audience: !If [Paged, [!Ref PageClient]", 'Audience: !If [Paged, ["*"]', only_who_was_invited_signs_in_and_by_code),
    ("  Users:\n    Type: AWS::Cognito::UserPool\n    Condition: Paged\n    DeletionPolicy: Retain",
     "  Users:\n    Type: AWS::Cognito::UserPool\n    Condition: Paged\n    DeletionPolicy: Delete",
     only_who_was_invited_signs_in_and_by_code),
    ("SSEAlgorithm: AES256}}]}", "SSEAlgorithm: aws:kms}}]}", files_are_read_by_this_distribution_alone),
    ("          - CrossOrigin\n", "          - Served\n", routes_are_these_and_may_call_the_function),
    ("OPTIONS /{proxy+}", "ANY /{proxy+}", routes_are_these_and_may_call_the_function),
    ("    Type: AWS::Lambda::Permission\n    Condition: CrossOrigin\n", "    Type: AWS::Lambda::Permission\n    Condition: Jwt\n",
     routes_are_these_and_may_call_the_function),
    ("      SnapStart: {ApplyOn: !Ref ApiSnapStart}", "      SnapStart: {ApplyOn: !Ref SnapStart}", deployments_are_taken_back),
    ("        Alarms: [!Ref ApiFunctionErrorsAlarm, !Ref ApiErrorsAlarm]\n", "        Alarms: []\n", deployments_are_taken_back),
    (", keys by '${JwtKeysClaim}'", "", a_changed_parameter_is_a_new_version),
    ("  Live: !And [!Condition Served, !Condition OwnTable, ", "  Live: !And [!Condition Served, ",
     there_are_live_updates_where_they_are_wanted_and_can_be),
    ("!If [Ticketed, NONE, AWS_IAM]", "NONE", who_connects_is_asked_who_he_is),
    ("!If [Ticketed, NONE, AWS_IAM]", "AWS_IAM", who_connects_is_asked_who_he_is),
    ('!If [Ticketed, "true", "false"]', '"false"', who_connects_is_asked_who_he_is),
    ('!If [Ticketed, !Ref ConnectionsTable, ""]', '""', who_connects_is_asked_who_he_is),
    (", ${Tickets}", "", a_changed_parameter_is_a_new_version),
    ("              - PathPattern: live\n", "              - PathPattern: live*\n", the_edge_keeps_no_answer_and_takes_no_token_in_the_clear),
    ("              - PathPattern: live\n                TargetOriginId: live\n", "              - PathPattern: live\n                TargetOriginId: api\n", the_socket_is_under_the_pages_address),
    ("      StageName: live\n", "      StageName: told\n", the_socket_is_under_the_pages_address),
    ("StreamSpecification: !If [Live, {StreamViewType: KEYS_ONLY}, !Ref AWS::NoValue]",
     "StreamSpecification: {StreamViewType: NEW_IMAGE}", there_are_live_updates_where_they_are_wanted_and_can_be),
    ("      AuthorizationType: !If [Ticketed, NONE, AWS_IAM]\n", "",
     who_connects_is_asked_who_he_is),
    ("      RouteResponseSelectionExpression: $default\n", "", who_connects_is_asked_who_he_is),
    ("      TimeoutInMillis: 29000 ", "      TimeoutInMillis: 9000 ", connecting_is_bounded),
    ("            MaximumRecordAgeInSeconds: 60\n", "", news_does_not_stay_behind_old_news),
    ("            StartingPosition: LATEST\n", "            StartingPosition: TRIM_HORIZON\n", news_does_not_stay_behind_old_news),
    (_FORGOTTEN + "  SocketLogs:",
     "      SSESpecification: {SSEEnabled: true, SSEType: KMS}\n\n  SocketLogs:", who_is_connected_is_encrypted_and_forgotten),
    ("          SOCKET_ENDPOINT: !Sub ", '          DEBUG: "1"\n          SOCKET_ENDPOINT: !Sub ', both_functions_are_told_what_they_read),
    ("Collecting: !And [!Condition Served, !Condition OwnStream, ", "Collecting: !And [!Condition Served, !Condition Served, ",
     events_come_in_where_they_are_wanted_and_can_be),
    ('      RouteKey: "POST /v1/metrics"\n', '      RouteKey: "ANY /v1/metrics"\n', events_come_in_where_they_are_wanted_and_can_be),
    ("IntegrationUri: !Ref CollectorFunction.Alias", "IntegrationUri: !GetAtt CollectorFunction.Arn",
     who_sends_is_asked_by_the_function_and_nobody_else_calls_it),
    (":${HttpApi}/*/*/*", ":*", who_sends_is_asked_by_the_function_and_nobody_else_calls_it),
    ('KEYS_PARAMETER: !Sub "/streamgage/${AWS::StackName}/CollectorKeys"', 'KEYS_PARAMETER: "/streamgage/CollectorKeys"',
     the_collector_is_told_what_it_reads),
    ('"POST /api/v2/write": {ThrottlingRateLimit: !Ref CollectorRate,', '"POST /api/v2/write": {ThrottlingRateLimit: !Ref ApiRate,',
     collecting_is_bounded),
    ("      ReservedConcurrentExecutions: !If [CollectorReserved, !Ref CollectorConcurrency, !Ref AWS::NoValue]\n", "",
     collecting_is_bounded),
    (", retry-after]", "]", pages_may_read_when_to_come_again),
    (_FORGOTTEN + "  CollectorLogs:",
     "      SSESpecification: {SSEEnabled: true, SSEType: KMS}\n\n  CollectorLogs:", batches_are_remembered_encrypted_and_forgotten),
    ('STREAMGAGE_ONE_KEY_PER_RECORD: !If [Parallel, "true", "false"]', 'STREAMGAGE_ONE_KEY_PER_RECORD: "false"',
     the_collector_is_told_what_it_reads),
    ('($.path = "/v1/metrics") || ', "", what_was_not_durable_is_counted),
    ('"api":"$context.apiId",', "", what_was_not_durable_is_counted),
    ("  HttpApiUrl:\n    Condition: Served\n", "  HttpApiUrl:\n    Condition: Iot\n", outputs_are_those_that_are_read),
)  # fmt: skip


@pytest.mark.parametrize(
    ("right", "wrong", "rule"), MISTAKES, ids=lambda each: getattr(each, "__name__", None)
)
def test_a_planted_mistake_is_seen(right: str, wrong: str, rule: Rule, tmp_path: Path) -> None:
    text = TEMPLATE.read_text(encoding="utf-8")
    assert right in text
    broken = tmp_path / "template.yaml"
    broken.write_text(text.replace(right, wrong, 1), encoding="utf-8")
    template = translate(broken)
    tried: tuple[dict[str, str], ...] = (
        {},
        TURNED,
        BESIDE,
        {**TURNED, **BESIDE},
        *SERVED,
        *COLLECTED,
        *PAGED,
        {**TURNED, **PAGE},
    )
    assert [problem for each in tried for problem in rule(decide(template, each))]


def test_every_rule_is_seen_to_fail() -> None:
    assert {rule for _, _, rule in MISTAKES} == set(ALL)


def lint(template: str) -> list[str]:
    from cfnlint import lint as cfn_lint
    from cfnlint.config import ManualArgs

    return [str(each) for each in cfn_lint(template, config=ManualArgs(regions=["us-east-1"]))]


def as_deployed(template: dict[str, Any], chosen: dict[str, str]) -> str:
    """Return *template* with other defaults: what SAM adds is linted with it."""
    copy = json.loads(json.dumps(template, default=str))
    for name, value in chosen.items():
        copy["Parameters"][name]["Default"] = value
    return json.dumps(copy)


def test_cfn_lint_has_no_word_against_it() -> None:
    """No error and no warning, without an exception. It tries the conditions by itself."""
    assert lint(TEMPLATE.read_text(encoding="utf-8")) == []


LINTED = {
    "as it is": {},
    "turned": TURNED,
    "beside": BESIDE,
    "served": {**TURNED, **SERVED[2], **SERVED[3], **SERVED[4]},
    "named": NAMED,
}


@pytest.mark.parametrize("name", shared(LINTED, one_of=2))
def test_cfn_lint_has_no_word_against_what_is_deployed(name: str) -> None:
    assert lint(as_deployed(translate(TEMPLATE), LINTED[name])) == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (
            "StartingPosition: !If [FromTime, AT_TIMESTAMP, TRIM_HORIZON]",
            "StartingPosition: !If [FromTime, AT_TIMESTAMP, BEGINNING]",
        ),
        ("TumblingWindowInSeconds: 0", "TumblingWindowInSeconds: 901"),
        ("      Statistic: Maximum", "      Statistic: Most"),
        ("Value: !Ref Aggregates}", "Value: !Ref Agregates}"),
    ],
)
def test_cfn_lint_sees_a_planted_mistake(right: str, wrong: str, tmp_path: Path) -> None:
    text = TEMPLATE.read_text(encoding="utf-8")
    assert right in text
    broken = tmp_path / "template.yaml"
    broken.write_text(text.replace(right, wrong, 1), encoding="utf-8")
    assert lint(as_deployed(translate(broken), {}))


def test_half_of_what_tokens_need_opens_nothing_and_is_refused_by_cloudformation() -> None:
    template = translate(TEMPLATE)
    assert list(template["Rules"]) == ["JwtIsWhole", "PageIsWhole"]
    for name, value in TOKENS.items():
        half = decide(template, {name: value})
        assert half.only("AWS::ApiGatewayV2::Route")["AuthorizationType"] == "AWS_IAM"
        assert not whole(template, {name: value})
    for alone in ("JwtScopes", "JwtKeysClaim"):
        assert not whole(template, {alone: "x"})
        assert whole(template, {**TOKENS, alone: "x"})
    assert whole(template, {})
    assert whole(template, TOKENS)


def whole(template: dict[str, Any], parameters: dict[str, str]) -> bool:
    """Return what CloudFormation would say of the rules."""
    return not refused(template, parameters)


def refused(template: dict[str, Any], parameters: dict[str, str]) -> list[str]:
    """Return what CloudFormation would say against *parameters*: each assertion, as a condition of the template."""
    said = []
    for assertion in [each for rule in template["Rules"].values() for each in rule["Assertions"]]:
        copy = {**template, "Conditions": {**template["Conditions"], "Whole": assertion["Assert"]}}
        copy["Outputs"] = {"Said": {"Value": {"Fn::If": ["Whole", "yes", "no"]}}}
        if decide(copy, parameters).outputs["Said"]["Value"] == "no":
            said.append(str(assertion["AssertDescription"]))
    return said


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ({"Page": "true"}, "Page needs Api=true, which it asks, and SignIn=cognito"),
        ({**PAGE, "Api": "false"}, "Page needs Api=true"),
        ({"SignIn": "cognito"}, "SignIn=cognito needs Page=true"),
        ({**PAGE, **TOKENS}, "leave JwtIssuer, JwtAudience and JwtScopes empty"),
        (
            {**PAGE, "PageDomain": NAMED["PageDomain"]},
            "PageDomain and PageCertificateArn are given both or neither",
        ),
        ({**PAGE, "PageCertificateArn": NAMED["PageCertificateArn"]}, "both or neither"),
        ({"PageDomain": "a.b", "PageCertificateArn": "arn"}, "only with Page=true"),
        ({"PageWebAclArn": NAMED["PageWebAclArn"]}, "PageWebAclArn guards the page"),
    ],
)
def test_half_a_page_is_refused_with_a_sentence_and_opens_nothing(
    parameters: dict[str, str], why: str
) -> None:
    template = translate(TEMPLATE)
    assert why in " ".join(refused(template, parameters))
    if parameters.keys() >= PAGE.keys() and parameters.get("Api") != "false":
        return  # a page, signed in to
    assert not [
        each for each in decide(template, parameters).resources.values() if "::CloudFront::" in each["Type"]
    ]


def test_a_whole_page_is_not_refused() -> None:
    template = translate(TEMPLATE)
    for parameters in (*PAGED, {**PAGE, "JwtKeysClaim": "custom:keys"}):
        assert refused(template, parameters) == []


def test_what_a_page_is_asked_to_be_is_bounded_by_patterns() -> None:
    declared = translate(TEMPLATE)["Parameters"]
    for name, bad in {
        "PageDomain": ["https://a.example.com", "a", "a.example.com/", "-a.example.com", "A.example.com"],
        "PageCertificateArn": ["arn:aws:acm:eu-central-1:111122223333:certificate/1-2"],
        "PageWebAclArn": ["arn:aws:wafv2:eu-central-1:111122223333:regional/webacl/a/1"],
    }.items():
        assert re.fullmatch(declared[name]["AllowedPattern"], NAMED[name])
        assert not [each for each in bad if re.fullmatch(declared[name]["AllowedPattern"], each)]


def test_a_changed_description_makes_cloudformation_publish_a_new_version() -> None:
    """What the version's description leans on, by CloudFormation's own schema of the resource."""
    from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", VERSION).schema
    assert "/properties/Description" in schema["createOnlyProperties"]


def test_capacity_changes_without_a_new_table() -> None:
    """By CloudFormation's own schema: deploy would refuse a change that replaces data."""
    from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", "AWS::DynamoDB::Table").schema
    fixed = {*schema["createOnlyProperties"], *schema["conditionalCreateOnlyProperties"]}
    assert "/properties/KeySchema" in fixed
    assert not [each for each in fixed if "BillingMode" in each or "ProvisionedThroughput" in each]


def test_locally_a_table_takes_what_comes_whatever_capacity_it_has_on_aws() -> None:
    divided = divide(TEMPLATE, keep_tables=True)
    assert divided.tables["Aggregates"]["BillingMode"] == "PAY_PER_REQUEST"
    assert "ProvisionedThroughput" not in divided.tables["Aggregates"]
    assert {"WriteScaling", "ReadScaling", "WriteScalingPolicy", "ReadScalingPolicy"} <= {
        each.logical_id for each in divided.elsewhere
    }


def test_locally_the_page_is_left_out_and_the_rest_fits_a_request() -> None:
    divided = divide(TEMPLATE, keep_tables=True)
    kinds = {each.kind for each in divided.elsewhere if each.why == CONDITIONS["Paged"]}
    assert {"AWS::CloudFront::Distribution", "AWS::Cognito::UserPool", "AWS::S3::Bucket"} <= kinds
    assert "PageUrl" not in divided.cloudformation["Outputs"]
    assert len(_body(divided)) <= TEMPLATE_BODY_BYTES


def test_locally_a_property_that_a_condition_leaves_out_is_left_out() -> None:
    stream = divide(TEMPLATE).streams["Stream"]
    mark = stream["ShardCount"]["Fn::Output"]
    outputs = {f"Local{n}": "x" for n in range(40)}
    assert resolve(stream, outputs)["ShardCount"] == "x"
    assert "ShardCount" not in resolve(stream, {**outputs, mark: "AWS::NoValue"})


def test_locally_a_reference_to_what_is_not_there_is_refused(tmp_path: Path) -> None:
    text = TEMPLATE.read_text(encoding="utf-8")
    broken = tmp_path / "template.yaml"
    broken.write_text(
        text.replace("Value: !Ref Aggregate.Alias", "Value: !GetAtt Aggregate.SnapStartResponse"), "utf-8"
    )
    with pytest.raises(ConfigError, match="asks Aggregate for what is not known of it on this machine"):
        divide(broken)
