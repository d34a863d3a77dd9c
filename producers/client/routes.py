"""Which shard a user record is predicted to go to, by its keys; keys that Kinesis takes for none are refused."""

from collections.abc import Mapping, Sequence

from producers.client.entry import UnsendableRecord
from streamgage.limits import KINESIS_HASH_KEYS, KINESIS_PARTITION_KEY_CHARS
from streamgage.records import SealedRecord, UserRecord
from streamgage.shards import ShardMap, hash_key_of


class Routes:
    """The shards of partition keys, so many remembered. ``known`` may be read in place of ``shard_of`` where it has the key."""

    def __init__(self, shards: ShardMap, remembered: int) -> None:
        self.shards = shards
        self._remembered = remembered
        self.known: dict[str, str] = {}

    def set_shards(self, shards: ShardMap) -> None:
        """Predict with *shards* from now on."""
        self.known.clear()
        self.shards = shards
        self.known.clear()  # whatever an interrupt let in between

    def shard_of(self, record: UserRecord | SealedRecord) -> str:
        """Check the keys of *record* and return the shard they lead to.

        Raises:
            UnsendableRecord: its partition key is not 1 to 256 characters of UTF-8, or its explicit hash key has more
                than 128 bits.
        """
        partition_key, hash_key = record.partition_key, record.explicit_hash_key
        if not 1 <= len(partition_key) <= KINESIS_PARTITION_KEY_CHARS:
            raise UnsendableRecord(
                f"partition key {partition_key[:40]!r} has {len(partition_key)} characters; Kinesis takes 1 to "
                f"{KINESIS_PARTITION_KEY_CHARS}"
            )
        try:
            key_hash = hash_key_of(partition_key)
        except UnicodeEncodeError as error:
            raise UnsendableRecord(
                f"partition key {partition_key[:40]!r} is not UTF-8: {error.reason}"
            ) from error
        if hash_key is None:
            if len(self.known) >= self._remembered:
                self.known.clear()
            return self.known.setdefault(partition_key, self.shards.shard_for(key_hash))
        if not 0 <= hash_key < KINESIS_HASH_KEYS:
            raise UnsendableRecord(
                f"explicit hash key {hash_key} (partition key {partition_key!r}) is outside 0 to 2**128 - 1"
            )
        return self.shards.shard_for(hash_key)

    def shard_of_key(self, partition_key: str) -> str:
        """Return the shard of a user record under *partition_key*. Raises: UnsendableRecord, as ``shard_of`` does."""
        return self.known.get(partition_key) or self.shard_of(UserRecord(partition_key, b""))

    def places(self, keys: Sequence[str]) -> Mapping[str, Sequence[int]]:
        """Return which of *keys* lead to which shard, the first one's first. Raises: UnsendableRecord."""
        try:
            shard_ids = list(map(self.known.__getitem__, keys))
        except KeyError:
            shard_ids = [self.shard_of_key(key) for key in keys]
        if len(set(shard_ids)) == 1:
            return {shard_ids[0]: range(len(keys))}
        places: dict[str, list[int]] = {}
        for at, shard_id in enumerate(shard_ids):
            places.setdefault(shard_id, []).append(at)
        return {**places}
