"""What people build today to answer HTTP from Lambda: FastAPI behind Mangum, boto3 beside it.

As the documentation of each shows it: the client outside the handler, a typed response.
"""

import os
from typing import Any

import boto3
from boto3.dynamodb.conditions import Key
from fastapi import FastAPI
from mangum import Mangum
from pydantic import BaseModel

app = FastAPI()
table = boto3.resource("dynamodb").Table(os.environ["STREAMGAGE_TABLE"])


class Answer(BaseModel):
    """What a question is answered with."""

    rows: list[dict[str, Any]]
    left: int = 0


@app.get("/v1/rollups/{rollup}/range")  # type: ignore[untyped-decorator]  # FastAPI is in the peers' environment
def range_of(rollup: str, window: str, limit: int = 1000) -> Answer:
    """Return the rows of a range."""
    found = table.query(KeyConditionExpression=Key("pk").eq(f"{rollup}|{window}"), Limit=limit)
    return Answer(rows=found["Items"])


handler = Mangum(app, lifespan="off")
