"""The checks: after every write what may never be false, and at the end that each event counted once.

While it runs: an item holds of each of its keys as many events as its lane's log up to its fence; a key stands in one item;
an item that takes no new key any more takes none, and says the same for ever; a progress item never says more than is
durable, nor another arrival time; a fence never goes back; what is quarantined is poison; the checkpoint stays behind.
At the end: the states of every key equal the naive fold, no other key exists, every poison record is in the quarantine, every
accepted event is in the log or was handed back, nothing waits any more.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations

from infra.local.mapping.stream import ShardCheckpoint
from simulation.asking import Held
from simulation.schedule import SimulationError
from simulation.table import Row
from simulation.tally import COUNTED, LAYOUTS, LogRecord, Place, Tally, fold_naively
from streamgage.fold.items import ItemKey
from streamgage.reading.poison import Poison
from streamgage.records import StreamRecord
from support.read_body import ReadBody, read_body, read_progress

_PROGRESS = "~progress"
_MOST_SUBSETS_OF = 10


class Oracle:
    """Compares the table, the quarantine and the on-failure destination of a world with its log.

    With ``only_at_end`` it is a black box's: what stands in the table and the queue when all is over.
    """

    only_at_end = False

    def __init__(self, consumer: str, tally: Tally, branches: Counter[str]) -> None:
        self._consumer, self._tally, self._branches = consumer, tally, branches
        self._bodies: dict[ItemKey, ReadBody] = {}
        self._fences: dict[ItemKey, int] = {}
        self._item_of: dict[Place, ItemKey] = {}
        self._progress: dict[str, int] = {}
        self._latest_ms: Counter[str] = Counter()
        self._quarantined: dict[str, tuple[str, bytes]] = {}
        self._durable_in_lane: Counter[str] = Counter()
        self._durable_in_shard: Counter[str] = Counter()
        self._discards = False

    def owns(self, key: ItemKey) -> bool:
        """Tell whether an item is this consumer's."""
        if key.pk.startswith(_PROGRESS):
            return key.pk.split("|")[1] == self._consumer
        return any(key.pk.startswith(f"{each.rollup}.1|") for each in COUNTED[self._consumer])

    # While it runs.

    def _broken(self, what: str) -> None:
        if not self.only_at_end:
            raise SimulationError(what)

    def written(self, key: ItemKey, row: Row, before: int | None) -> None:
        """Check one write of an item, whose fence was *before*."""
        fence = int(row.fence)
        if before is not None and fence <= before:
            self._broken(f"{key}: its fence went from {before} back to {fence}")
        if key.pk.startswith(_PROGRESS):
            self._progress[key.sk] = fence
            self._check_progress(key.sk, fence, read_progress(row.body)[0])
            return
        rollup, label, chunk = key.pk.split("|")
        body = read_body(row.body, LAYOUTS[rollup.partition(".")[0]], int(key.sk[:15]))
        self._check_chunk(key, body)
        self._fences[key], self._bodies[key] = fence, body
        if body.begin_ms:
            self._broken(
                f"{key} is said to be counted from {body.begin_ms} ms on; it is from the first record on"
            )
        self._branches["a chunk that is not the root"] += chunk != "0"
        for name, state in body.states.items():
            place = f"{rollup}|{label}", key.sk, name
            if self._item_of.setdefault(place, key) != key:
                self._broken(f"{place} stands in {self._item_of[place]} and in {key}")
            self._check_events(place, fence, state[0])

    def _check_chunk(self, key: ItemKey, body: ReadBody) -> None:
        """Check that a chunk keeps its keys, and its word that it takes no more."""
        known = self._bodies.get(key)
        if known is None:
            return
        if known.states.keys() - body.states.keys():
            self._broken(f"{key} has lost keys: {known.states.keys() - body.states.keys()}")
        if known.onward and (body.onward != known.onward or body.states.keys() - known.states.keys()):
            self._broken(f"{key} was closed, and changed: {known.onward} to {body.onward}")
        self._branches["a chunk was closed with keys in it"] += bool(body.onward and not known.onward)

    def _check_events(self, place: Place, fence: int, events: int) -> None:
        least = most = 0
        for entry in self._tally.by_item.get(place, ()):
            if entry.record.sequence_number <= fence:
                parts = len(entry.items[place])
                least += parts if entry.counts else 0
                most += parts if entry.counts or entry.optional else 0
        if not least <= events <= most:
            self._broken(
                f"{place} holds {events} events up to its fence {fence}; its lane's log has {least}"
                + (f" to {most}" if most > least else "")
            )

    def quarantined(self, poison: Poison) -> None:
        """Check one user record that was quarantined."""
        entry = self._tally.poison.get(poison.id)
        codes = "+".join(each.code for each in poison.refused)
        if entry is None or not (entry.counts or entry.optional):
            raise SimulationError(f"{poison.id} was quarantined as {codes}: it is no poison, or a repeat")
        if entry.poison[poison.id] != (codes, poison.data):
            raise SimulationError(
                f"{poison.id} was quarantined as {codes}; it is {entry.poison[poison.id][0]}"
            )
        self._branches["poison sent again"] += poison.id in self._quarantined
        self._branches.update(f"poison: {each.code}" for each in poison.refused)
        self._quarantined[poison.id] = (codes, poison.data)

    def delivered(self, records: Sequence[StreamRecord]) -> None:
        """Take note that the on-failure destination has records: only now Lambda has given them up."""
        self._discards = True
        for record in records:
            self._tally.by_place[record.shard_id, record.sequence_number].discarded = True

    def invoked(self, records: Sequence[StreamRecord]) -> None:
        """Check one batch: of one shard, in its order."""
        numbers = [each.sequence_number for each in records]
        if len({each.shard_id for each in records}) != 1 or numbers != sorted(set(numbers)):
            self._broken(f"a batch of several shards, or not in order: {numbers}")

    def kept(self, progress: Mapping[str, ShardCheckpoint]) -> None:
        """Check a checkpoint: everything up to it is durable."""
        for shard_id, kept in progress.items():
            log = self._tally.by_shard.get(shard_id, [])
            done = self._durable_in_shard[shard_id]
            while done < len(log) and (
                kept.finished
                or (kept.sequence is not None and log[done].record.sequence_number <= kept.sequence)
            ):
                self._check_durable(log[done], f"the checkpoint of {shard_id}")
                done += 1
            self._durable_in_shard[shard_id] = done

    def _check_progress(self, lane: str, fence: int, applied_ms: int) -> None:
        log = self._tally.by_lane.get(lane, [])
        done = self._durable_in_lane[lane]
        while done < len(log) and log[done].record.sequence_number <= fence:
            self._check_durable(log[done], f"the progress of {lane}")
            self._latest_ms[lane] = max(self._latest_ms[lane], log[done].record.arrival_ms)
            done += 1
        self._durable_in_lane[lane] = done
        if applied_ms != self._latest_ms[lane] and not self._discards:
            self._broken(
                f"{lane} is said to be applied up to {applied_ms} ms; it is {self._latest_ms[lane]} ms"
            )

    def _check_durable(self, entry: LogRecord, who: str) -> None:
        if not entry.counts:
            return
        number = entry.record.sequence_number
        for place in entry.items:
            key = self._item_of.get(place)
            if key is None or self._fences[key] < number:
                self._broken(f"{who} is ahead: {number} is not durable in {place}")
        for poison_id in entry.poison:
            if poison_id not in self._quarantined:
                self._broken(f"{who} is ahead: poison {poison_id} is not in the quarantine")

    # At the end.

    def held(self) -> Held:
        """Return how many events the items hold."""
        found: Counter[tuple[str, str, int, str]] = Counter()
        for key, body in self._bodies.items():
            rollup, label, _ = key.pk.split("|")
            for name, state in body.states.items():
                found[rollup.partition(".")[0], label, int(key.sk[:15]), name] += state[0]
        return found

    def judge(self) -> None:
        """Check that each event counted once."""
        self._check_log()
        for place in {**self._tally.by_item, **self._item_of}:
            self._check_place(place)
        for poison_id, entry in self._tally.poison.items():
            if entry.counts and poison_id not in self._quarantined:
                raise SimulationError(f"poison {poison_id} is lost: it is not in the quarantine")
        for lane, log in self._tally.by_lane.items():
            fence = self._progress.get(lane)
            if fence != log[-1].record.sequence_number and not self._discards:
                raise SimulationError(f"the progress of {lane} ends at {fence}, its log at {log[-1].record}")

    def _check_log(self) -> None:
        tally = self._tally
        lost = tally.accepted_data - tally.given_up_data - tally.stored_data
        if lost:
            raise SimulationError(
                f"{len(lost)} accepted events are neither in the log nor handed back: {lost}"
            )

    def _check_place(self, place: Place) -> None:
        entries = self._tally.by_item.get(place, [])
        parts = [part for each in entries if each.counts for part in each.items[place]]
        optional = [each.items[place] for each in entries if each.optional]
        key = self._item_of.get(place)
        if key is None:
            if parts:
                raise SimulationError(f"{place} is missing: {len(parts)} events are lost")
            return
        state = self._bodies[key].states[place[2]]
        sizes = range(len(optional) + 1) if len(optional) <= _MOST_SUBSETS_OF else range(0)
        for size in sizes:
            for chosen in combinations(optional, size):
                counted = [*parts, *(part for each in chosen for part in each)]
                if counted and fold_naively(place, counted) == state:
                    self._branches["optional, and counted"] += bool(chosen)
                    return
        if len(optional) > _MOST_SUBSETS_OF:
            return  # its number of events was checked at each write
        expected = fold_naively(place, parts) if parts else "nothing"
        raise SimulationError(f"{place} is {state}; one pass over the log gives {expected}")
