"""API Gateway's HTTP API of the template, in front of the local Lambda; and the page beside it."""
