"""How Lambda reads what a function answered to a batch.

Source: https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html, and what AWS was
recorded to do: LocalStack's AWS-validated snapshots of test_lambda_integration_kinesis (checked 2026-11-21).
"""

import json
from collections.abc import Sequence
from typing import Any


def done_count(payload: bytes, sequence_numbers: Sequence[int], *, report_item_failures: bool) -> int:
    """Return how many leading records of the batch the answer *payload* says are done.

    All of them is success; 0 is failure of the whole batch; anything between is Lambda's new checkpoint: "If the
    batchItemFailures array contains multiple items, Lambda uses the record with the lowest sequence number as the
    checkpoint. Lambda then retries all records starting from that checkpoint."

    An answer that is no JSON object and is none of the documented empty answers is read as a failed batch: AWS
    documents nothing for it, and a redelivery can be repeated where a loss cannot.
    """
    everything = len(sequence_numbers)
    try:
        answer = json.loads(payload) if payload and report_item_failures else None
    except ValueError:
        return 0
    # "Lambda treats a batch as a complete success if you return any of the following: an empty batchItemFailure
    # list, a null batchItemFailure list, an empty EventResponse, a null EventResponse". Recorded: "" and [] too.
    # Without FunctionResponseTypes nobody looks at the answer.
    if answer is None or (isinstance(answer, (str, list, dict)) and not answer):
        return everything
    if not isinstance(answer, dict):
        return 0
    failures = answer.get("batchItemFailures")  # a misspelt key is a null list: success
    if failures is None:
        return everything
    return _lowest(failures, sequence_numbers) if isinstance(failures, list) else 0


def _lowest(failures: list[Any], sequence_numbers: Sequence[int]) -> int:
    positions = {str(number): index for index, number in enumerate(sequence_numbers)}
    lowest = len(positions)
    for failure in failures:
        # "... as a complete failure if you return any of the following: an empty string itemIdentifier, a null
        # itemIdentifier, an itemIdentifier with a bad key name". Recorded: one that is not in the batch too.
        identifier = failure.get("itemIdentifier") if isinstance(failure, dict) else None
        index = positions.get(identifier) if isinstance(identifier, str) else None
        if index is None:
            return 0
        lowest = min(lowest, index)
    return lowest
