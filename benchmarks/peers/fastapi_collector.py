"""What people build: FastAPI takes events, pydantic checks them, boto3 puts each batch into Kinesis before 200 is said.

``python fastapi_collector.py PORT KINESIS_URL``; it serves until it is ended.
"""

import json
import sys

import boto3
import uvicorn
from botocore.config import Config
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field

app = FastAPI()
kinesis = boto3.client(
    "kinesis", region_name="eu-west-1", endpoint_url=sys.argv[2], config=Config(max_pool_connections=50)
)


class Reading(BaseModel):
    """An event as the schema has it."""

    source: str
    device_id: str = Field(min_length=1, max_length=256)
    metric: str
    ts: int = Field(ge=0)
    value: float = Field(allow_inf_nan=False)


@app.post("/v1/events")  # type: ignore[untyped-decorator]  # FastAPI is in the peers' environment
def take(events: list[Reading]) -> dict[str, int]:
    """Store them all, or say that it could not be done. A function without async: FastAPI gives it a thread."""
    for at in range(0, len(events), 500):
        records = [
            {"Data": json.dumps(each.model_dump()).encode(), "PartitionKey": each.device_id}
            for each in events[at : at + 500]
        ]
        if kinesis.put_records(StreamName="s", Records=records)["FailedRecordCount"]:
            raise HTTPException(503)
    return {"accepted": len(events)}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", access_log=False)
