"""The quarantine in an SQS queue, through the lean client: what SqsQuarantine does through boto3."""

import json
from collections.abc import Sequence

from processors.awsjson.client import AwsJsonClient
from processors.deadline import Deadline
from processors.quarantine.sqs import encode_poison, message_batches
from streamgage.reading.poison import Poison

TARGET = "AmazonSQS"


class LeanSqsQuarantine:
    """A quarantine in an SQS queue. *client* is one of SQS. A message whose answer was lost may be there twice."""

    def __init__(self, client: AwsJsonClient, queue_url: str) -> None:
        self._client, self._queue_url = client, queue_url

    def send(self, poison: Sequence[Poison], *, deadline: Deadline) -> None:
        """Send each of *poison* as one message, or as several parts where it is larger than a message."""
        for batch in message_batches(message for each in poison for message in encode_poison(each)):
            self._send_batch(batch, deadline)

    def _send_batch(self, messages: list[str], deadline: Deadline) -> None:
        left = {str(number): message for number, message in enumerate(messages)}
        retries = self._client.retries(deadline)
        while True:
            entries = [{"Id": number, "MessageBody": message} for number, message in left.items()]
            body = json.dumps({"QueueUrl": self._queue_url, "Entries": entries})
            failed = json.loads(self._client.call("SendMessageBatch", body, retries)).get("Failed")
            if not failed:
                return
            left = {each["Id"]: left[each["Id"]] for each in failed}
            reason = failed[0].get("Message") or failed[0].get("Code", "")
            retries.pause(f"{len(left)} poison records are not in the quarantine queue: {reason}")
