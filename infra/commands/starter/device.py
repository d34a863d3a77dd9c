"""A device: ten readings, a second apart, to the stack that runs in this folder."""

import time

from producers import Producer

with Producer.to_local() as producer:
    for number in range(10):
        ts = time.time_ns() // 1_000_000
        producer.put(
            "reading", {"device_id": "d1", "metric": "temperature", "ts": ts, "value": 20 + number / 4}
        )
        time.sleep(1)
