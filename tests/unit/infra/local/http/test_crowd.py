"""Who goes first when there are too many connections."""

from hypothesis import given
from hypothesis import strategies as st

from infra.local.http.crowd import Crowd, Phase

_MEMBERS = st.integers(0, 6)
_CALLS = st.lists(st.tuples(_MEMBERS, st.sampled_from([*Phase, None])), max_size=60)


@given(calls=_CALLS, asked=st.sets(st.sampled_from(Phase)))
def test_the_oldest_is_who_has_been_longest_in_one_of_the_phases(
    calls: list[tuple[int, Phase | None]], asked: set[Phase]
) -> None:
    crowd, since = Crowd[int](), dict[int, tuple[Phase, int]]()
    for now_s, (member, phase) in enumerate(calls):
        if phase is None:
            crowd.drop(member)
            since.pop(member, None)
            continue
        crowd.put(member, phase, float(now_s))
        if member not in since or since[member][0] is not phase:
            since[member] = phase, now_s
    waiting = [(at, member) for member, (phase, at) in since.items() if phase in asked]
    assert crowd.oldest(*asked) == (min(waiting)[1] if waiting else None)
    assert (len(crowd), set(crowd)) == (len(since), set(since))


def test_what_drips_on_in_its_phase_gets_no_younger() -> None:
    crowd = Crowd[str]()
    crowd.put("slow", Phase.HEAD, 0)
    crowd.put("new", Phase.HEAD, 1)
    crowd.put("slow", Phase.HEAD, 2)
    assert crowd.oldest(Phase.IDLE, Phase.HEAD) == "slow"
