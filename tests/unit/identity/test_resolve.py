"""Who is who, rule by rule."""

import pytest

from identity_world import atom, evidence, groups
from percorso_identity.evidence import Pin, Seen, State
from percorso_identity.policy import DEFAULT, Policy, TypeRule
from percorso_identity.resolve import explain, resolve


def refused(resolution, a, b):
    """The rule that keeps a and b apart."""
    return next((one.rule for one in resolution.refused if {one.a, one.b} == {atom(a), atom(b)}), None)


def test_a_profile_is_named_by_its_strongest_identifier():
    resolution = resolve(evidence([(1, "server", ["anonymous_id:c", "email:a@x.com"])]), DEFAULT)
    assert resolution.profiles == dict.fromkeys((atom("anonymous_id:c"), atom("email:a@x.com")), atom("email:a@x.com"))


def test_the_earlier_claim_keeps_what_only_one_may_have():
    links = [(20, "server", ["user_id:b", "email:e@x.com"]), (10, "server", ["user_id:a", "email:e@x.com"])]
    resolution = resolve(evidence(links), DEFAULT)
    assert groups(resolution, ["user_id:a", "user_id:b", "email:e@x.com"]) == [
        ["email:e@x.com", "user_id:a"], ["user_id:b"]]
    assert refused(resolution, "user_id:b", "email:e@x.com") == "limit"


def test_strong_identifiers_are_joined_before_weak_ones_whatever_the_time():
    links = [(1, "server", ["email:a@x.com", "anonymous_id:c"]), (2, "server", ["email:b@x.com", "anonymous_id:c"]),
             (9, "server", ["user_id:u", "email:b@x.com"]), (9, "server", ["user_id:v", "email:a@x.com"])]
    resolution = resolve(evidence(links), DEFAULT)
    assert groups(resolution, ["user_id:u", "user_id:v", "email:a@x.com", "email:b@x.com", "anonymous_id:c"]) == [
        ["anonymous_id:c", "email:a@x.com", "user_id:v"], ["email:b@x.com", "user_id:u"]]


def test_no_profile_gets_more_identifiers_than_the_size_cap():
    links = [(number, "server", ["user_id:u", f"anonymous_id:{number}"]) for number in range(5)]
    resolution = resolve(evidence(links), Policy(size=4))
    assert refused(resolution, "user_id:u", "anonymous_id:3") == "size"
    assert len(groups(resolution, ["user_id:u", *(f"anonymous_id:{number}" for number in range(5))])) == 3


def test_a_veto_holds_over_every_way_round():
    links = [(1, "server", ["user_id:u", "email:e@x.com"]), (2, "server", ["email:e@x.com", "phone:1"]),
             (3, "server", ["phone:1", "user_id:u"])]
    found = evidence(links, vetoes=[(atom("user_id:u"), atom("phone:1"))])
    resolution = resolve(found, DEFAULT)
    assert groups(resolution, ["user_id:u", "email:e@x.com", "phone:1"]) == [
        ["email:e@x.com", "user_id:u"], ["phone:1"]]
    assert refused(resolution, "email:e@x.com", "phone:1") == "veto"


def test_a_pin_joins_over_the_limit_and_the_profile_still_takes_what_brings_no_more_of_that_type():
    links = [(1, "server", ["user_id:a"]), (2, "server", ["user_id:b", "anonymous_id:c"]),
             (3, "server", ["anonymous_id:c", "user_id:d"])]
    pin = Pin(atom("user_id:a"), atom("user_id:b"), Seen(9, b"f" * 16))
    resolution = resolve(evidence(links, pins=[pin]), DEFAULT)
    assert groups(resolution, ["user_id:a", "user_id:b", "user_id:d", "anonymous_id:c"]) == [
        ["anonymous_id:c", "user_id:a", "user_id:b"], ["user_id:d"]]


def test_a_veto_is_stronger_than_a_pin():
    pair = (atom("user_id:a"), atom("user_id:b"))
    found = evidence([(1, "server", ["user_id:a"]), (1, "server", ["user_id:b"])],
                     pins=[Pin(*pair, Seen(1, b"f" * 16))], vetoes=[pair])
    assert refused(resolve(found, DEFAULT), "user_id:a", "user_id:b") == "veto"


def test_a_blocked_identifier_joins_nobody_and_belongs_to_nobody():
    links = [(1, "server", ["user_id:a", "email:e@x.com"]), (2, "server", ["crm_id:k", "email:e@x.com"])]
    resolution = resolve(evidence(links, blocked=frozenset({atom("email:e@x.com")})), DEFAULT)
    assert groups(resolution, ["user_id:a", "crm_id:k", "email:e@x.com"]) == [["crm_id:k"], ["user_id:a"]]


def test_what_more_stronger_ones_claim_than_the_policy_allows_is_a_hub():
    links = [(number, "server", [f"user_id:{number}", "email:office@x.com"]) for number in range(3)]
    assert resolve(evidence(links), Policy(hub=3)).states[atom("email:office@x.com")] is State.ACTIVE
    resolution = resolve(evidence(links), Policy(hub=2))
    assert resolution.states[atom("email:office@x.com")] is State.HUB
    assert refused(resolution, "user_id:0", "email:office@x.com") == "hub"


def test_hubs_count_as_claimants_so_that_no_order_of_blocking_matters():
    links = [(0, "server", ["email:hub@x.com", "anonymous_id:c"]),
             *((1, "server", [f"user_id:{number}", "email:hub@x.com"]) for number in range(3)),
             (2, "server", ["user_id:0", "anonymous_id:c"])]
    resolution = resolve(evidence(links), Policy(hub=1))
    assert resolution.states[atom("anonymous_id:c")] is State.HUB


def test_browsers_that_flood_an_identifier_switch_off_browser_evidence_only():
    links = [(0, "server", ["user_id:victim", "email:v@x.com"]),
             *((1, "browser", [f"user_id:fake{number}", "email:v@x.com"]) for number in range(12))]
    resolution = resolve(evidence(links), DEFAULT)
    assert resolution.states[atom("email:v@x.com")] is State.BROWSER_HUB
    assert resolution.profiles[atom("email:v@x.com")] == atom("user_id:victim")


def test_a_browser_never_joins_two_that_a_server_knows():
    known = [(1, "server", ["user_id:u"]), (2, "server", ["email:e@x.com"])]
    claim = (0, "browser", ["user_id:u", "email:e@x.com"])
    assert refused(resolve(evidence([*known, claim]), DEFAULT), "user_id:u", "email:e@x.com") == "trust"
    assert resolve(evidence([known[0], claim]), DEFAULT).refused == ()
    assert resolve(evidence([*known, claim, (9, "server", claim[2])]), DEFAULT).refused == ()


def test_a_server_is_asked_before_a_browser_whatever_the_time():
    links = [(1, "browser", ["user_id:thief", "email:v@x.com"]), (50, "server", ["user_id:victim", "email:v@x.com"])]
    resolution = resolve(evidence(links), DEFAULT)
    assert resolution.profiles[atom("email:v@x.com")] == atom("user_id:victim")


def test_in_a_crowd_a_weak_identifier_of_several_is_a_hub():
    links = [(number, "server", [f"user_id:{number}", f"anonymous_id:{number}"]) for number in range(6)]
    shared = [(9, "server", [f"user_id:{number}", f"anonymous_id:{number + 1}"]) for number in range(5)]
    small, crowd = Policy(crowd=12), Policy(crowd=11)
    cookie = atom("anonymous_id:3")
    assert resolve(evidence([*links, *shared]), small).states[cookie] is State.ACTIVE
    resolution = resolve(evidence([*links, *shared]), crowd)
    assert resolution.states[cookie] is State.CROWD_HUB
    assert resolution.states[atom("anonymous_id:0")] is State.ACTIVE


def test_an_explanation_is_the_path_of_accepted_edges_with_their_touchpoints():
    links = [(1, "server", ["user_id:u", "email:e@x.com"]), (2, "server", ["email:e@x.com", "phone:1"]),
             (3, "server", ["phone:1", "anonymous_id:c"]), (4, "server", ["crm_id:other"])]
    resolution = resolve(evidence(links), DEFAULT)
    path = explain(resolution, atom("anonymous_id:c"), atom("user_id:u"))
    assert path is not None
    assert [edge.seen.time for edge in path] == [3, 2, 1]
    assert explain(resolution, atom("user_id:u"), atom("crm_id:other")) is None


def test_the_home_of_a_link_is_its_strongest_usable_identifier():
    links = [(1, "server", ["user_id:u", "email:e@x.com", "anonymous_id:c"])]
    found = evidence(links)
    assert list(resolve(found, DEFAULT).homes.values()) == [atom("user_id:u")]
    assert list(resolve(evidence(links, blocked=frozenset({atom("user_id:u")})), DEFAULT).homes.values()) == [
        atom("email:e@x.com")]
    assert list(resolve(evidence(links, blocked=frozenset(found.types)), DEFAULT).homes.values()) == [None]


def test_a_weak_identifier_of_two_people_is_shared():
    links = [(1, "server", ["user_id:a", "anonymous_id:tab"]), (2, "server", ["user_id:b", "anonymous_id:tab"]),
             (3, "server", ["anonymous_id:tab"])]
    resolution = resolve(evidence(links), DEFAULT)
    assert set(resolution.shared) == {atom("anonymous_id:tab")}
    assert len(resolution.shared[atom("anonymous_id:tab")]) == 2


@pytest.mark.parametrize("rule", [{"rank": -1, "limit": 1}, {"rank": 256, "limit": 1}, {"rank": 1, "limit": 0}])
def test_a_rule_outside_its_range_is_refused(rule):
    with pytest.raises(ValueError, match="must be"):
        TypeRule(**rule)
