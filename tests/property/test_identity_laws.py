"""Laws of who is who: the same set of evidence gives the same people."""

from hypothesis import given, settings
from hypothesis import strategies as st

from identity_world import atom, evidence
from percorso_identity.evidence import Evidence, Pin, Seen
from percorso_identity.policy import Policy, TypeRule
from percorso_identity.resolve import explain, resolve

NAMES = [f"{type_}:{letter}" for type_ in ("user_id", "email", "device_id", "anonymous_id") for letter in "abcde"]
POLICY = Policy(types={"email": TypeRule(2, 2), "anonymous_id": TypeRule(9, 3, weak=True)}, size=9, hub=3, crowd=14)

links = st.lists(st.tuples(
    st.integers(0, 9), st.sampled_from(("server", "browser")),
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True)), min_size=1, max_size=14)
pairs = st.lists(st.lists(st.sampled_from(NAMES), min_size=2, max_size=2, unique=True), max_size=2)


def gathered(touches, vetoes, pins, blocked) -> Evidence:
    found = evidence(touches)
    known = found.types.keys()
    return Evidence(
        types=found.types, links=found.links, blocked=frozenset(map(atom, blocked)) & known,
        vetoes=[(atom(a), atom(b)) for a, b in vetoes if {atom(a), atom(b)} <= known],
        pins=[Pin(atom(a), atom(b), Seen(5, bytes([index]) * 16)) for index, (a, b) in enumerate(pins)
              if {atom(a), atom(b)} <= known])


@given(links, pairs, pairs, st.lists(st.sampled_from(NAMES), max_size=1), st.randoms())
@settings(max_examples=400, deadline=None)
def test_no_order_and_no_repetition_of_evidence_changes_who_is_who(touches, vetoes, pins, blocked, chance):
    one = gathered(touches, vetoes, pins, blocked)
    shuffled = list(one.links)
    chance.shuffle(shuffled)
    turned = [link._replace(atoms=tuple(chance.sample(link.atoms, len(link.atoms)))) for link in shuffled]
    other = Evidence(
        types=dict(sorted(one.types.items(), reverse=True)), links=turned, blocked=one.blocked,
        vetoes=[pair[::-1] for pair in reversed(one.vetoes)], pins=list(reversed(one.pins)))
    assert resolve(one, POLICY) == resolve(other, POLICY)


@given(links, pairs, pairs, st.lists(st.sampled_from(NAMES), max_size=1))
@settings(max_examples=400, deadline=None)
def test_no_profile_breaks_a_guard_and_every_two_of_one_profile_can_be_explained(touches, vetoes, pins, blocked):
    found = gathered(touches, vetoes, pins, blocked)
    resolution = resolve(found, POLICY)
    members: dict[bytes, list[bytes]] = {}
    for one, profile in resolution.profiles.items():
        if profile is not None:
            members.setdefault(profile, []).append(one)
    pinned = {one for pin in found.pins for one in pin[:2]}
    for profile, atoms in members.items():
        assert profile in atoms
        assert not any(a in atoms and b in atoms for a, b in found.vetoes)
        if pinned.isdisjoint(atoms):
            assert len(atoms) <= POLICY.size
            for type_ in {found.types[one] for one in atoms}:
                assert sum(found.types[one] == type_ for one in atoms) <= POLICY.rule(type_).limit
        for one in atoms:
            path = explain(resolution, profile, one)
            assert path is not None
            assert (path == []) == (one == profile)
    for refusal in resolution.refused:
        assert resolution.profiles[refusal.a] != resolution.profiles[refusal.b]


@given(links)
@settings(max_examples=200, deadline=None)
def test_a_component_can_be_resolved_alone(touches):
    whole = evidence(touches)
    resolution = resolve(whole, POLICY)
    reach: dict[bytes, set[bytes]] = {one: {one} for one in whole.types}
    for link in whole.links:
        joined = set().union(*(reach[one] for one in link.atoms))
        for one in joined:
            reach[one] = joined
    for component in {id(found): found for found in reach.values()}.values():
        alone = resolve(Evidence(
            types={one: whole.types[one] for one in component},
            links=[link for link in whole.links if link.atoms[0] in component]), POLICY)
        assert alone.profiles == {one: resolution.profiles[one] for one in component}
