"""What a state shows, and what it keeps of values that lost."""

import msgspec
import pytest

from percorso_profile.fold import (
    KEPT_VALUES,
    LinkState,
    Said,
    Seen,
    State,
    absorb,
    account_of,
    consent_of,
    decode,
    encode,
    fold,
    join,
    traits_of,
)


def said(value: object, at: int, event: str = "e") -> Said:
    return Said(value, at, event, "website")


def test_the_newest_value_wins_and_the_others_are_kept_newest_first():
    state = State()
    for value, at in (("free", 1), ("pro", 4), ("team", 2), ("free", 3)):
        absorb(state, State(set={"plan": [said(value, at)]}))
    assert [(kept.value, kept.at) for kept in state.set["plan"]] == [("pro", 4), ("free", 3), ("team", 2)]


def test_of_one_instant_the_greater_event_id_wins():
    state = join([State(set={"k": [said(1, 5, "b")]}), State(set={"k": [said(2, 5, "a")]})])
    assert traits_of(state) == {"k": 1}


def test_a_first_writer_never_beats_a_set_value_however_late_that_was():
    state = State(once={"source": [said("ad", 1)]})
    assert traits_of(state) == {"source": "ad"}
    changes = absorb(state, State(set={"source": [said("fair", 9)]}))
    assert (traits_of(state), changes.traits) == ({"source": "fair"}, {"source": "fair"})
    assert absorb(state, State(once={"source": [said("mail", 0)]})).traits == {}


def test_the_first_writer_wins_among_first_writers():
    assert traits_of(join([State(once={"k": [said(2, 2)]}), State(once={"k": [said(1, 1)]})])) == {"k": 1}


def test_sets_unite_and_a_scalar_of_the_same_name_stays_a_scalar():
    state = join([State(add={"tags": [said("red", 1)]}), State(add={"tags": [said("blue", 2)]}),
                  State(add={"tags": [said("red", 3)]})])
    assert traits_of(state) == {"tags": ["blue", "red"]}
    absorb(state, State(set={"tags": [said("none", 4)]}))
    profile = fold([LinkState(state)])
    assert (profile.traits, profile.sets) == ({"tags": "none"}, {"tags": ["blue", "red"]})


@pytest.mark.parametrize(("one", "other"), [(1, True), (1, 1.0), ("1", 1), (None, False), ([1], "x"), ([1], [True])])
def test_values_of_different_types_are_different_values(one, other):
    state = join([State(set={"k": [said(one, 1, "a")]}), State(set={"k": [said(other, 2, "b")]})])
    assert [kept.value for kept in state.set["k"]] == [other, one]
    assert type(traits_of(state)["k"]) is type(other)


def test_a_value_said_again_changes_nothing_that_shows_but_its_instant_counts():
    state = State(set={"k": [said("a", 1)]})
    assert not absorb(state, State(set={"k": [said("a", 9)]}))
    assert not absorb(state, State(set={"k": [said("b", 5)]}))
    assert traits_of(state) == {"k": "a"}


def test_only_so_many_losing_values_are_kept():
    state = State()
    for at in range(100):
        absorb(state, State(set={"k": [said(at, at)]}))
    assert [kept.value for kept in state.set["k"]] == list(range(99, 99 - KEPT_VALUES, -1))


def test_consent_is_the_newest_word_per_purpose_and_shows_among_the_traits():
    state = join([State(consent={"news": [said(True, 1)]}), State(consent={"news": [said(False, 2)]}),
                  State(consent={"ads": [said(True, 1)]})])
    assert consent_of(state) == {"ads": True, "news": False}
    assert traits_of(state) == {"consent": {"ads": True, "news": False}}
    assert absorb(state, State(consent={"news": [said(True, 3)]})).traits == {"consent": {"ads": True, "news": True}}


def test_the_account_is_the_newest_group():
    state = State()
    assert absorb(state, State(account=[said("acme", 5)])).account
    assert not absorb(state, State(account=[said("globex", 4)])).account
    assert account_of(state) == "acme"


def test_a_state_survives_its_json_form():
    state = join([State(set={"a": [said({"x": [1, None]}, 1)]}, add={"t": [said("r", 1)]}),
                  State(once={"o": [said(1.5, 2)]}, consent={"p": [said(True, 1)]}, account=[said("acme", 1)])])
    assert decode(encode(state)) == state
    assert encode(State()) == "{}"
    assert msgspec.json.decode(encode(state))["account"] == [["acme", 1, "e", "website"]]


def test_a_profile_adds_up_its_links():
    profile = fold([LinkState(counters={"page_view": Seen(2, 10, 20), "signup": Seen(1, 15, 15)}),
                    LinkState(counters={"page_view": Seen(3, 5, 12)})])
    assert (profile.touchpoints, profile.by_name) == (6, {"page_view": 5, "signup": 1})
    assert (profile.first_seen, profile.last_seen) == (5, 20)


def test_of_nobody_nothing_is_known():
    profile = fold([])
    assert (profile.traits, profile.touchpoints, profile.first_seen, profile.account) == ({}, 0, None, None)
