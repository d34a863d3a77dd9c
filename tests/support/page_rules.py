"""What must hold of the template's page and of signing in to it: one rule a function, as in template_rules."""

import json
from collections.abc import Iterator
from typing import Any

from infra.template.page import HEADERS
from support.template_rules import BUCKET, Deployed, Rule

_CLOUDFRONT, _COGNITO = "AWS::CloudFront::", "AWS::Cognito::"
# Managed policies. Source: using-managed-cache-policies.html, using-managed-origin-request-policies.html (2026-11-29)
NEVER_KEPT, ALL_BUT_HOST = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad", "b689b0a8-53d0-40ab-baf2-68738e2966ac"
_SIGN_IN = " https://${UsersDomain}.auth.${AWS::Region}.amazoncognito.com"


def no_page_means_none(deployed: Deployed) -> Iterator[str]:
    left = [
        each["Type"]
        for each in deployed.resources.values()
        if each["Type"].startswith((_CLOUDFRONT, _COGNITO))
    ]
    if bool(left) is not deployed.pages:
        yield f"of a page that is {'not ' * (not deployed.pages)}wanted there is {left}"


def a_browser_is_told_the_same_as_on_a_laptop(deployed: Deployed) -> Iterator[str]:
    """Every header of the local gateway but Cache-Control, which each object has; more only where it makes sense on AWS alone."""
    if not deployed.pages:
        return
    told = headers_of(deployed.only(f"{_CLOUDFRONT}ResponseHeadersPolicy")["ResponseHeadersPolicyConfig"])
    told["Content-Security-Policy"] = told["Content-Security-Policy"].replace(
        f"connect-src 'self'{_SIGN_IN}", "connect-src 'self'"
    )
    if not told.pop("Strict-Transport-Security", ""):
        yield "a browser may come back without TLS"
    wanted = {name: each for name, each in HEADERS.items() if name != "Cache-Control"}
    yield from (
        f"{name} is {told.get(name)}"
        for name in wanted.keys() | told.keys()
        if told.get(name) != wanted.get(name)
    )
    (default,) = [distribution(deployed)["DefaultCacheBehavior"]]
    if default.get("ResponseHeadersPolicyId") != {"Ref": "PageHeaders"}:
        yield "nobody is told"


def headers_of(policy: dict[str, Any]) -> dict[str, str]:
    """Return the headers that a ResponseHeadersPolicy sends, each in place of the origin's own."""
    known = policy["SecurityHeadersConfig"]
    told = {
        "Content-Security-Policy": known["ContentSecurityPolicy"]["ContentSecurityPolicy"]["Fn::Sub"],
        "X-Content-Type-Options": "nosniff" if "ContentTypeOptions" in known else "",
        "X-Frame-Options": known["FrameOptions"]["FrameOption"],
        "Referrer-Policy": known["ReferrerPolicy"]["ReferrerPolicy"],
    }
    if "StrictTransportSecurity" in known:
        told["Strict-Transport-Security"] = (
            f"max-age={known['StrictTransportSecurity']['AccessControlMaxAgeSec']}"
        )
    own = policy["CustomHeadersConfig"]["Items"]
    assert all(each["Override"] for each in [*known.values(), *own])
    return told | {each["Header"]: each["Value"] for each in own}


def distribution(deployed: Deployed) -> dict[str, Any]:
    """Return the configuration of the one distribution."""
    found: dict[str, Any] = deployed.only(f"{_CLOUDFRONT}Distribution")["DistributionConfig"]
    return found


def the_edge_keeps_no_answer_and_takes_no_token_in_the_clear(deployed: Deployed) -> Iterator[str]:
    """A cache whose key has no Authorization would show one caller's keys to the next."""
    if not deployed.pages:
        return
    config = distribution(deployed)
    asked = {each["PathPattern"]: each for each in config["CacheBehaviors"]}
    if asked.keys() != {"v1/*", "prometheus/*", *(["live"] if deployed.tells else [])}:
        yield f"the API is under {sorted(asked)}"
    asked.pop("live", None)
    for path, each in asked.items():
        if (each["CachePolicyId"], each["OriginRequestPolicyId"]) != (NEVER_KEPT, ALL_BUT_HOST):
            yield f"{path}: answers may be kept, or the token is not passed on"
        if each["ViewerProtocolPolicy"] != "https-only" or "POST" not in each["AllowedMethods"]:
            yield f"{path}: a token may go in the clear, or a long question not at all"
        if each["TargetOriginId"] != "api":
            yield f"{path}: not the API's"
    for each in config["Origins"]:
        if each["Id"] != "page" and each["CustomOriginConfig"]["OriginProtocolPolicy"] != "https-only":
            yield f"{each['Id']} is asked in the clear"


def the_socket_is_under_the_pages_address(deployed: Deployed) -> Iterator[str]:
    """Under the name of its stage, so without a path of the origin's; nothing else of it, and no ticket that is kept."""
    if not deployed.pages or not deployed.tells:
        return
    config = distribution(deployed)
    (path,) = [each for each in config["CacheBehaviors"] if each["PathPattern"] == "live"]
    if (path["CachePolicyId"], path["OriginRequestPolicyId"]) != (NEVER_KEPT, ALL_BUT_HOST):
        yield "a handshake may be kept, or the ticket is not passed on"
    if path["ViewerProtocolPolicy"] != "https-only":
        yield "a ticket may go in the clear"
    (origin,) = [each for each in config["Origins"] if each["Id"] == path["TargetOriginId"]]
    host = {"Fn::Sub": "${LiveApi}.execute-api.${AWS::Region}.${AWS::URLSuffix}"}
    (stage,) = deployed.live("AWS::ApiGatewayV2::Stage")
    if (origin["DomainName"], origin.get("OriginPath", ""), stage["StageName"]) != (host, "", "live"):
        yield "the page's live is not the stage of the WebSocket API"


def files_are_read_by_this_distribution_alone(deployed: Deployed) -> Iterator[str]:
    if not deployed.pages:
        return
    rules = [{"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
    for each in deployed.of(BUCKET)[1:]:
        if each["Properties"]["BucketEncryption"] != {"ServerSideEncryptionConfiguration": rules}:
            yield "the page's bucket is not encrypted, or by a key that CloudFront may not use"
    config = distribution(deployed)
    (page,) = [
        each for each in config["Origins"] if each["Id"] == config["DefaultCacheBehavior"]["TargetOriginId"]
    ]
    if (
        page.get("OriginAccessControlId") != {"Ref": "PageAccess"}
        or config["DefaultRootObject"] != "index.html"
    ):
        yield "the files are not asked for as this distribution"
    allowed = [
        each
        for policy in deployed.of("AWS::S3::BucketPolicy")
        for each in policy["Properties"]["PolicyDocument"]["Statement"]
        if each["Effect"] == "Allow"
    ]
    for each in allowed:
        if each["Action"] != "s3:GetObject" or "${PageDistribution}" not in json.dumps(each.get("Condition")):
            yield "others read the files, or this one does more than read"


def the_page_is_where_the_parameters_say(deployed: Deployed) -> Iterator[str]:
    if not deployed.pages:
        return
    config, domain = distribution(deployed), deployed.parameters["PageDomain"]
    certificate = config["ViewerCertificate"]
    if config.get("Aliases", []) != [domain] * bool(domain):
        yield f"it answers as {config.get('Aliases')}"
    wanted: dict[str, Any] = {"CloudFrontDefaultCertificate": True}
    if domain:
        arn = deployed.parameters["PageCertificateArn"]
        wanted = {
            "AcmCertificateArn": arn,
            "SslSupportMethod": "sni-only",
            "MinimumProtocolVersion": "TLSv1.2_2021",
        }
    if certificate != wanted:
        yield f"its certificate is {certificate}"
    if config.get("WebACLId", "") != deployed.parameters["PageWebAclArn"]:
        yield "the web ACL is not the parameter's"
    back = {"Fn::Sub": "https://${PageDomain}/" if domain else "https://${PageDistribution.DomainName}/"}
    client = deployed.only(f"{_COGNITO}UserPoolClient")
    if (
        client["CallbackURLs"] != [back]
        or client["LogoutURLs"] != [back]
        or deployed.outputs["PageUrl"]["Value"] != back
    ):
        yield "who signs in or out is sent elsewhere"


def only_who_was_invited_signs_in_and_by_code(deployed: Deployed) -> Iterator[str]:
    if not deployed.pages:
        return
    (whole,) = deployed.of(f"{_COGNITO}UserPool")
    pool, client = whole["Properties"], deployed.only(f"{_COGNITO}UserPoolClient")
    if (whole.get("DeletionPolicy"), whole.get("UpdateReplacePolicy")) != ("Retain", "Retain"):
        yield "people go with the stack"
    if pool["AdminCreateUserConfig"] != {"AllowAdminCreateUserOnly": True}:
        yield "people sign themselves up"
    if pool["Policies"]["PasswordPolicy"]["MinimumLength"] < 12 or pool["MfaConfiguration"] == "OFF":
        yield "passwords are short, or all there is"
    if pool["DeletionProtection"] != (
        "ACTIVE" if deployed.parameters["DeletionProtection"] == "true" else "INACTIVE"
    ):
        yield "the pool's deletion protection is not the parameter's"
    if (
        client["GenerateSecret"]
        or client["AllowedOAuthFlows"] != ["code"]
        or client["AllowedOAuthScopes"] != ["openid"]
    ):
        yield "tokens are given without a code, or for more than to read"
    if "custom:keys" in client["WriteAttributes"] or "custom:keys" not in client["ReadAttributes"]:
        yield "a person says himself which keys he sees, or the page cannot"
    if not client["EnableTokenRevocation"] or client["RefreshTokenRotation"]["Feature"] != "ENABLED":
        yield "a stolen session lasts"
    (authorizer,) = deployed.of("AWS::ApiGatewayV2::Authorizer")
    issuer = {"Fn::Sub": "https://cognito-idp.${AWS::Region}.${AWS::URLSuffix}/${Users}"}
    if authorizer["Properties"]["JwtConfiguration"] != {
        "Issuer": issuer,
        "Audience": [{"Ref": "PageClient"}],
    }:
        yield "the API takes other tokens than the page's"


PAGE_RULES: tuple[Rule, ...] = (
    no_page_means_none,
    a_browser_is_told_the_same_as_on_a_laptop,
    the_edge_keeps_no_answer_and_takes_no_token_in_the_clear,
    the_socket_is_under_the_pages_address,
    files_are_read_by_this_distribution_alone,
    the_page_is_where_the_parameters_say,
    only_who_was_invited_signs_in_and_by_code,
)
