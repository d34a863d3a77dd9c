"""Imports boto3 and makes a DynamoDB client, which it never uses: the least that a function with boto3 takes."""

from typing import Any

import boto3

client = boto3.client("dynamodb")


def handler(event: Any, context: Any) -> None:
    """Handle one invocation."""
