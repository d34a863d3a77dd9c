"""The HTTP face: questions over HTTP, by a Lambda function behind API Gateway's HTTP API. See docs/http.md."""
