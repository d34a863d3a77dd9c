"""The check of a start, case by case: what is deleted, restored or reset, and what is said of it."""

from dataclasses import dataclass, field, replace

import pytest

from infra.local.kinesis.sequence import counter_floor
from infra.local.kinesis.shards import Shard
from infra.local.mapping.stream import ShardCheckpoint
from infra.local.stack.stores.facts import (
    CheckpointFacts,
    Facts,
    Finding,
    Gap,
    LogFacts,
    Mark,
    StreamFacts,
    TableFacts,
    Verdict,
)
from infra.local.stack.stores.judge import judge, refusals, settle

NOW_MS = 1_800_000_000_000
SHARD = Shard(0, 0, 0, created_ms=NOW_MS, epoch_s=NOW_MS // 1000)
ID, CHILD = "shardId-000000000000", "shardId-000000000007"
FINE, REWIND, REFUSE = Verdict.FINE, Verdict.REWIND, Verdict.REFUSE
OURS, OTHERS = Mark("ours", 4), Mark("others", 9)
LOST = Gap(17, certain=True, first_ms=NOW_MS, last_ms=NOW_MS + 1000)


def number(n: int) -> int:
    return SHARD.space.number(counter_floor(NOW_MS) + n)


def at(n: int, **more: int | None) -> ShardCheckpoint:
    return ShardCheckpoint(number(n), **{"applied": number(n), **more})  # type: ignore[arg-type]  # its fields


EARLIER = number(5) - (1 << 148)  # of a stream that was made a second before
LOG = LogFacts(first=SHARD.space.first, next=number(1_000), tip=number(20))
SOUND = Facts(
    StreamFacts(OURS, {ID: LOG}, next_index=1),
    TableFacts(OURS, {ID: number(10)}),
    CheckpointFacts(OURS, {ID: at(10)}),
    settled=True,
    new_stream=SHARD.space.first + (1 << 160),
    noted=OURS,
)


def with_log(**changes: object) -> StreamFacts:
    return StreamFacts(OURS, {ID: replace(LOG, **changes)}, next_index=1)  # type: ignore[arg-type]  # its fields


@dataclass(frozen=True)
class Case:
    """What differs from three stores that agree, and what is found. ``becomes``: the checkpoint after it, accepted or not."""

    what: str
    verdict: Verdict
    says: str
    becomes: ShardCheckpoint | None = None
    final: bool = False
    stream: StreamFacts | None = SOUND.stream
    tables: TableFacts = SOUND.tables
    checkpoints: CheckpointFacts = SOUND.checkpoints
    more: dict[str, object] = field(default_factory=dict)

    def facts(self) -> Facts:
        changed = replace(SOUND, stream=self.stream, tables=self.tables, checkpoints=self.checkpoints)
        return replace(changed, **self.more)  # type: ignore[arg-type]  # fields of Facts


CASES = [
    Case(
        "the tables are an older copy", REWIND, f"to {number(4)}, and it was applied to {number(10)}: what lies beyond is read again",
        at(4), tables=TableFacts(Mark("ours", 2), {ID: number(4)}),
    ),
    Case(
        "the tables are an older copy, and the log has expired", REFUSE, "17 Kinesis records that arrived from 2027-01-15T08:00:00Z",
        at(4), tables=TableFacts(Mark("ours", 2), {ID: number(4)}), stream=with_log(uncounted=LOST),
    ),
    Case(
        "the tables are deleted", REWIND, "the tables have the shard to nothing",
        ShardCheckpoint(), tables=TableFacts(),
    ),
    Case(
        "the tables are deleted, and some of the log was", REFUSE, "none is left and nothing tells how many",
        ShardCheckpoint(), tables=TableFacts(), stream=with_log(uncounted=Gap(certain=False)),
    ),
    Case(
        "tables and checkpoints are deleted, and the log has expired", REFUSE, "17 Kinesis records",
        ShardCheckpoint(), tables=TableFacts(), checkpoints=CheckpointFacts(), stream=with_log(uncounted=LOST),
    ),
    Case(
        "the tables are of another home", REFUSE, "the tables are of home others", at(10), final=True,
        tables=TableFacts(OTHERS, {ID: number(10)}),
    ),
    Case(
        "the tables are of a home of before there were marks", REFUSE, "do not say whose they are", at(10), final=True,
        tables=TableFacts(None, {ID: number(10)}),
    ),
    Case(
        "the checkpoints are deleted", FINE, f"reading goes on after {number(10)}", at(10), checkpoints=CheckpointFacts(),
    ),
    Case(
        "the checkpoints are of another home", REWIND, "the checkpoints are of home others", at(10),
        checkpoints=CheckpointFacts(OTHERS, {ID: at(19)}),
    ),
    Case(
        "the checkpoints are an older copy", FINE, "an older copy, of start 2 of 4", at(3),
        checkpoints=CheckpointFacts(Mark("ours", 2), {ID: at(3)}),
    ),
    Case(
        "the stream is deleted", REFUSE, "it was deleted, reset or exchanged", stream=None,
    ),
    Case(
        "the stream is deleted, and the clock went back", REFUSE, "dropped as a repeat", final=True, stream=None,
        more={"new_stream": SHARD.space.first - (1 << 150)},
    ),
    Case(
        "the stream is a new one", REFUSE, "it was deleted, reset or exchanged",
        stream=StreamFacts(None, {ID: replace(LOG, tip=None)}, next_index=1),
    ),
    Case(
        "the stream is an older copy, of an earlier start", REFUSE, "the stream is an older copy, of start 3 of 4", at(10),
        stream=StreamFacts(Mark("ours", 3), {ID: LOG}, next_index=1),
    ),
    Case(
        "the stream is an older copy, the tables are gone", REFUSE, "the stream is an older copy, of start 3 of 4", ShardCheckpoint(),
        stream=StreamFacts(Mark("ours", 3), {ID: LOG}, next_index=1), tables=TableFacts(), checkpoints=CheckpointFacts(),
    ),
    Case(
        "the log of a shard is deleted", REFUSE, f"the log has the shard to nothing, and it was counted to {number(10)}",
        ShardCheckpoint(), stream=with_log(tip=None),
    ),
    Case(
        "the log of a shard is cut", REFUSE, f"the log has the shard to {number(8)}, and it was counted to {number(10)}",
        at(8), stream=with_log(tip=number(8)),
    ),
    Case(
        "the log is cut behind what was counted, not behind what was read", REFUSE, f"and it was read to {number(10)}", at(7),
        stream=with_log(tip=number(8)), tables=TableFacts(OURS, {ID: number(7)}),
    ),
    Case(
        "the log is cut, and the clock went back", REFUSE, "be dropped as a repeat: the shard cannot go on", at(10), final=True,
        stream=with_log(tip=number(8), next=number(9)),
    ),
    Case(
        "the stream is of before a split", REFUSE, "the stream never had this shard",
        checkpoints=CheckpointFacts(OURS, {ID: at(10), CHILD: at(3)}),
    ),
    Case(
        "a shard has expired unread", FINE, "what it held beyond is lost", at(3), stream=StreamFacts(OURS, {}, next_index=9),
        tables=TableFacts(OURS, {ID: number(3)}), checkpoints=CheckpointFacts(OURS, {ID: at(3)}),
    ),
    Case(
        "the tables are an older copy, and the shard has expired", REFUSE, "it has expired since",
        stream=StreamFacts(OURS, {}, next_index=9), tables=TableFacts(OURS, {ID: number(3)}),
    ),
    Case(
        "records expired while it was down", FINE, "17 Kinesis records that arrived from", at(10), stream=with_log(unread=LOST),
    ),
    Case(
        "before there were marks: the stream was reset", REFUSE, "numbers of an earlier one", ShardCheckpoint(),
        stream=StreamFacts(None, {ID: LOG}, next_index=1), tables=TableFacts(None, {ID: EARLIER}),
        checkpoints=CheckpointFacts(None, {ID: ShardCheckpoint(EARLIER, applied=EARLIER)}), more={"settled": False, "noted": None},
    ),
    Case(
        "before there were marks: the stream was deleted", REFUSE, "deleted, reset or exchanged", stream=None,
        tables=TableFacts(None, {ID: number(10)}), checkpoints=CheckpointFacts(None, {ID: at(10)}),
        more={"settled": False, "noted": None},
    ),
    Case(
        "before there were marks: the tables were deleted", REWIND, "to nothing", ShardCheckpoint(),
        stream=StreamFacts(None, {ID: LOG}, next_index=1), tables=TableFacts(None), checkpoints=CheckpointFacts(None, {ID: at(10)}),
        more={"settled": False, "noted": None},
    ),
    Case(
        "lanes are partition keys, and the tables are an older copy", REWIND, "read again", ShardCheckpoint(),
        tables=TableFacts(OURS, {ID: number(4)}, by_key=True),
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_what_was_done_to_a_store_is_found(case: Case) -> None:
    facts = case.facts()
    findings = judge(facts)
    gravest = max(findings, key=lambda each: list(Verdict).index(each.verdict))
    assert gravest.verdict is case.verdict, findings
    assert case.says in " ".join(each.text for each in findings), findings
    assert bool(refusals(findings, accept_loss=False)) is (case.verdict is REFUSE)
    assert bool(refusals(findings, accept_loss=True)) is case.final
    assert (
        settle(facts.checkpoints.shards, findings).get(ID if "split" not in case.what else CHILD)
        == case.becomes
    )


UNTOUCHED = {
    "all agree": SOUND,
    "a new home": Facts(None, TableFacts(), CheckpointFacts(), settled=False, new_stream=1),
    "nothing was put yet": replace(
        SOUND, stream=with_log(tip=None), tables=TableFacts(OURS), checkpoints=CheckpointFacts(OURS, {ID: ShardCheckpoint()})
    ),
    "the tables are ahead of a checkpoint, after a kill": replace(SOUND, checkpoints=CheckpointFacts(OURS, {ID: at(6)})),
    "the last records were discarded": replace(
        SOUND, checkpoints=CheckpointFacts(OURS, {ID: ShardCheckpoint(number(20), applied=number(10))})
    ),
    "all that was read was discarded": replace(
        SOUND, tables=TableFacts(OURS), checkpoints=CheckpointFacts(OURS, {ID: ShardCheckpoint(number(20))})
    ),
    "a home of before there were marks": replace(
        SOUND, stream=StreamFacts(None, {ID: LOG}, 1), tables=TableFacts(None, {ID: number(10)}),
        checkpoints=CheckpointFacts(None, {ID: at(10)}), settled=False, noted=None,
    ),
    "a crash while they were marked": replace(
        SOUND, stream=StreamFacts(Mark("ours", 5), {ID: LOG}, 1), settled=False, noted=Mark("ours", 5)
    ),
    "a crash while they were marked for the first time": replace(
        SOUND, tables=TableFacts(None, {ID: number(10)}), checkpoints=CheckpointFacts(None, {ID: at(10)}), settled=False
    ),
    "the whole home is an older copy": replace(
        SOUND, stream=StreamFacts(Mark("ours", 2), {ID: LOG}, 1), tables=TableFacts(Mark("ours", 2), {ID: number(10)}),
        checkpoints=CheckpointFacts(Mark("ours", 2), {ID: at(10)}), noted=Mark("ours", 2),
    ),
    "the home's note is gone": replace(SOUND, settled=False, noted=None),
    "a shard was read to its end, and expired": replace(
        SOUND, stream=StreamFacts(OURS, {}, 3), checkpoints=CheckpointFacts(OURS, {ID: at(10, finished=True)})
    ),
    "a shorter log was accepted": replace(SOUND, stream=with_log(tip=number(8)), checkpoints=CheckpointFacts(OURS, {ID: at(8)}),
        accepted={ID: number(10)}),
    "a stream's reset was accepted": replace(
        SOUND, tables=TableFacts(OURS, {ID: EARLIER}), checkpoints=CheckpointFacts(OURS, {})
    ),
    "the function is not ours": replace(SOUND, tables=TableFacts(OURS, {}, comparable=False)),
}  # fmt: skip


@pytest.mark.parametrize("facts", UNTOUCHED.values(), ids=UNTOUCHED)
def test_nothing_is_said_where_nothing_was_done(facts: Facts) -> None:
    assert judge(facts) == []


def test_an_accepted_shorter_log_is_refused_all_the_same_once_its_numbers_would_be_given_again() -> None:
    facts = replace(
        SOUND, stream=with_log(tip=number(8), next=number(9)), accepted={ID: number(10)},
        checkpoints=CheckpointFacts(OURS, {ID: at(8)}),
    )  # fmt: skip
    assert [each.final for each in judge(facts)] == [True]


def test_what_a_person_accepts_is_noted_up_to_the_record_that_was_counted() -> None:
    [finding] = judge(replace(SOUND, stream=with_log(tip=number(8))))
    assert finding.accepts == number(10)


def test_settling_leaves_what_nothing_was_said_of() -> None:
    assert settle({ID: at(3), CHILD: at(4)}, [Finding(FINE, "stream", "…", ID)]) == {ID: at(3), CHILD: at(4)}
