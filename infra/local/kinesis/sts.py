"""The one action of AWS STS that producers of Kinesis ask for: whose account is this?

The KPL before 1.1 asks it once a stream, at its ``stsEndpoint``, and ends where it gets no answer; the ARN it makes of
the account goes into every later request. It speaks the query protocol: a form one way, XML the other.
Source: https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html (checked 2026-11-21);
what the KPL does is from running 1.0.4.
"""

from urllib.parse import parse_qs

FORM = "application/x-www-form-urlencoded"
XML = "text/xml"

_NAMESPACE = 'xmlns="https://sts.amazonaws.com/doc/2011-06-15/"'
_METADATA = "<RequestId>00000000-0000-0000-0000-000000000000</RequestId>"


def answer_form(form: bytes, *, account: str) -> tuple[int, bytes]:
    """Return the HTTP status and the XML that answer a form: the root user of *account*, or an error."""
    action = parse_qs(form.decode("latin-1")).get("Action", [""])[0]
    if action == "GetCallerIdentity":
        return 200, (
            f"<GetCallerIdentityResponse {_NAMESPACE}><GetCallerIdentityResult>"
            f"<Arn>arn:aws:iam::{account}:root</Arn><UserId>{account}</UserId><Account>{account}</Account>"
            f"</GetCallerIdentityResult><ResponseMetadata>{_METADATA}</ResponseMetadata></GetCallerIdentityResponse>"
        ).encode()
    return 400, (
        f"<ErrorResponse {_NAMESPACE}><Error><Type>Sender</Type><Code>InvalidAction</Code>"
        "<Message>Of STS, this data plane has GetCallerIdentity alone.</Message></Error>"
        f"{_METADATA}</ErrorResponse>"
    ).encode()
