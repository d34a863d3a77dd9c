"""Whatever is deleted, put back or reset of a home's stores: every record is counted, or its loss is said."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from support.examples import examples
from support.stores_world import RETENTION_MS, SHARDS, World

NAMES = st.sampled_from(["stream", "tables", "checkpoints"])
SHARD = st.sampled_from(SHARDS)
COUNT = st.integers(1, 3)
RUNNING = st.one_of(
    st.tuples(st.just("put"), SHARD, COUNT),
    st.tuples(st.just("work"), SHARD, COUNT),
    st.tuples(st.just("discard"), SHARD, COUNT),
    st.tuples(st.just("save")),
)
DOWN = st.one_of(
    st.tuples(st.just("copy"), NAMES),
    st.tuples(st.just("put_back"), NAMES, st.integers(0, 3)),
    st.tuples(st.just("delete"), NAMES),
    st.tuples(
        st.just("pass_time"), st.sampled_from([1, 5_000, RETENTION_MS // 2, RETENTION_MS + 1, -90_000])
    ),
    st.tuples(st.just("trim")),
)
DAYS = st.lists(
    st.tuples(st.lists(RUNNING, max_size=8), st.lists(DOWN, max_size=4), st.booleans()),
    min_size=1,
    max_size=6,
)


def live(world: World, steps: list[tuple[object, ...]]) -> None:
    for name, *arguments in steps:
        if name == "discard":
            world.work(*arguments, discard=True)  # type: ignore[arg-type]  # as drawn
        else:
            getattr(world, str(name))(*arguments)


@given(days=DAYS)
@settings(max_examples=examples(150, whole=400))
# A stream that was reset while the clock had stepped back: its numbers were given before.
@example(
    days=[
        ([("put", SHARDS[0], 2), ("work", SHARDS[0], 2), ("save",)], [("delete", "stream"), ("pass_time", -90_000)], True),
        ([("put", SHARDS[0], 2)], [], True),
    ]
)  # fmt: skip
# The tables of yesterday, and what they lack has expired.
@example(
    days=[
        ([("put", SHARDS[0], 1), ("work", SHARDS[0], 1), ("save",)], [("copy", "tables")], False),
        ([("put", SHARDS[0], 1), ("work", SHARDS[0], 1), ("save",)], [("put_back", "tables", 0), ("pass_time", RETENTION_MS + 1), ("trim",)], True),
    ]
)  # fmt: skip
def test_a_start_that_is_not_refused_counts_every_record_or_names_its_loss(
    days: list[tuple[list[tuple[object, ...]], list[tuple[object, ...]], bool]],
) -> None:
    world = World()
    for running, down, accepts in days:
        if not world.start(accept_loss=accepts):
            return
        assert world.counts_what_is_put_now()
        live(world, running)
        live(world, down)
    if world.start(accept_loss=days[-1][2]):
        assert world.counts_what_is_put_now()
        world.work_all()
        assert not world.missing()


@given(days=st.lists(st.tuples(st.lists(RUNNING, max_size=8), st.integers(0, 5_000)), max_size=5))
def test_a_home_that_nobody_touched_is_never_refused_and_nothing_is_said_of_it_but_a_checkpoint(
    days: list[tuple[list[tuple[object, ...]], int]],
) -> None:
    world = World()
    for running, ms in days:
        assert world.start(accept_loss=False)
        live(world, running)
        world.pass_time(ms)
    assert world.start(accept_loss=False)
    world.work_all()
    assert not world.missing()
