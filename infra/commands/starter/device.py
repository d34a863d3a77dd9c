"""A device: ten readings, a second apart, to the stack that runs in this folder."""

import os
import time
from pathlib import Path

from infra.commands.places import find_target, open_producer
from processors.pipeline_files import load_pipeline

reading = load_pipeline("pipeline.toml").sources["reading"]
here = find_target(stream=None, endpoint_url=None, region=None, environ=os.environ, folder=Path.cwd())
with open_producer(here) as producer:
    for number in range(10):
        ts = time.time_ns() // 1_000_000
        producer.send(
            reading, {"device_id": "d1", "metric": "temperature", "ts": ts, "value": 20 + number / 4}
        )
        producer.flush()
        time.sleep(1)
