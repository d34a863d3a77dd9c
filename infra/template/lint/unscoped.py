"""The actions for which IAM knows no resource: only for these is ``Resource: "*"`` right.

An action joins the list when its service's table has been looked up: no entry under "Resource types".

Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsx-ray.html (checked 2026-11-21)
"""

UNSCOPED = frozenset({"xray:PutTelemetryRecords", "xray:PutTraceSegments"})
