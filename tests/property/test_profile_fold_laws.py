"""The laws of folding: the order, the grouping and the repetition of what was said do not matter."""

from itertools import permutations
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from percorso_profile.fold import (
    LinkState,
    Said,
    Seen,
    State,
    absorb,
    add_counters,
    decode,
    encode,
    fold,
    join,
    traits_of,
)

VALUES = st.sampled_from([None, True, False, 0, 1, 1.0, "a", "b", "", [1], [True], {"x": 1}, *range(2, 14)])
NAMES = st.sampled_from(["plan", "city", "tags"])
PURPOSES = st.sampled_from(["news", "ads"])


@st.composite
def touchpoints(draw: Any) -> list[tuple[str, int, State]]:
    """(event id, time, what it says), each event once."""
    made = []
    for number in range(draw(st.integers(0, 12))):
        at, event = draw(st.integers(0, 5)), f"{number:02}"

        def said(value: object, at: int = at, event: str = event) -> list[Said]:
            return [Said(value, at, event, "website")]

        made.append((event, at, State(
            set={name: said(value) for name, value in draw(st.dictionaries(NAMES, VALUES, max_size=2)).items()},
            once={name: said(value) for name, value in draw(st.dictionaries(NAMES, VALUES, max_size=2)).items()},
            add={name: said(value) for name, value in draw(st.dictionaries(NAMES, VALUES, max_size=2)).items()},
            consent={name: said(value) for name, value in draw(st.dictionaries(PURPOSES, st.booleans())).items()},
            account=said(draw(st.sampled_from(["acme", "globex"]))) if draw(st.booleans()) else [])))
    return made


def told(found: list[tuple[str, int, State]]) -> State:
    return join(state for _, _, state in found)


@given(touchpoints(), st.randoms())
def test_any_order_gives_the_same_state(found, random):
    shuffled = random.sample(found, len(found))
    assert encode_sorted(told(shuffled)) == encode_sorted(told(found))


@given(touchpoints(), st.integers(0, 12), st.integers(0, 12))
def test_joining_associates_and_commutes(found, first, second):
    one, two, three = told(found[:first]), told(found[first:second]), told(found[max(first, second):])
    results = {encode_sorted(join([join(pair), last])) for *pair, last in permutations((one, two, three))}
    results.add(encode_sorted(join([one, join([two, three])])))
    assert len(results) == 1


@given(touchpoints())
def test_joining_twice_is_joining_once(found):
    state = told(found)
    assert encode_sorted(join([state, state])) == encode_sorted(state)
    assert not absorb(state, told(found))


@given(touchpoints(), st.data())
def test_a_redelivery_that_is_filtered_by_event_id_changes_nothing(found, data):
    again = found + (data.draw(st.lists(st.sampled_from(found))) if found else [])
    seen: set[str] = set()
    counters, states = [], []
    for event, at, state in again:
        if event not in seen:
            seen.add(event)
            counters.append({"x": Seen(1, at, at)})
            states.append(state)
    once = fold(LinkState(state, {"x": Seen(1, at, at)}) for _, at, state in found)
    profile = fold([LinkState(join(states), add_counters(counters))])
    assert (profile.traits, profile.touchpoints, profile.first_seen, profile.last_seen) == (
        once.traits, once.touchpoints, once.first_seen, once.last_seen)


@given(touchpoints(), st.lists(st.integers(0, 3), min_size=12, max_size=12))
def test_how_touchpoints_are_spread_over_links_does_not_matter(found, links):
    groups: dict[int, list[State]] = {}
    for link, (_, _, state) in zip(links, found, strict=False):
        groups.setdefault(link, []).append(state)
    assert encode_sorted(join(join(group) for group in groups.values())) == encode_sorted(told(found))


@given(touchpoints())
def test_what_a_step_calls_changed_is_what_looks_different(found):
    state = State()
    for _, _, said in found:
        before = traits_of(state)
        changes = absorb(state, said)
        after = traits_of(state)
        assert changes.traits.keys() == {
            name for name, value in after.items() if name not in before or as_json(before[name]) != as_json(value)}
        assert all(after[name] == value for name, value in changes.traits.items())


@given(touchpoints())
def test_a_state_is_what_its_json_form_says(found):
    assert encode_sorted(decode(encode(told(found)))) == encode_sorted(told(found))


def as_json(value: object) -> bytes:
    return msgspec.json.encode(value, order="sorted")


def encode_sorted(state: State) -> bytes:
    return as_json(state)
