"""Which events of a sender's schedule a Kinesis record holds."""

from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence

from producers.client.batcher import PutEntry
from streamgage.shards import Shard, ShardMap, hash_key_of


class Routes:
    """The shard of each series, by its partition key, in a stream that is not resharded."""

    def __init__(self, keys: Sequence[str], shards: Sequence[Shard]) -> None:
        self._series = len(keys)
        routes = ShardMap(shards)
        self._own: dict[str, list[int]] = defaultdict(list)
        for number, key in enumerate(keys):
            self._own[routes.shard_for(hash_key_of(key))].append(number)

    def numbers(self, shard_id: str, entry: PutEntry) -> "array[int]":
        """Return the numbers of the events in *entry*, which was stored on *shard_id*.

        User records come with their numbers. A block comes with its first event's: it holds, from that one on, those that
        go to its shard, which takes its series in turn.
        """
        if len(entry.numbers) == entry.events:
            return array("I", entry.numbers)
        own, (first,) = self._own[shard_id], entry.numbers
        round_, series = divmod(first, self._series)
        at = bisect_left(own, series)
        numbers = array("I")
        for number in range(at, at + entry.events):
            more, index = divmod(number, len(own))
            numbers.append((round_ + more) * self._series + own[index])
        return numbers
