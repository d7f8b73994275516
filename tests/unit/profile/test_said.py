"""What one touchpoint says of its person."""

from typing import Any

import msgspec
import pytest

from percorso_profile.fold import State, consent_of, traits_of
from percorso_profile.said import BROWSER_LATENESS_MS, Touchpoint, says, says_of_account
from percorso_shared.names import canonical_name

DAY = 86_400_000


def touchpoint(**fields: Any) -> Touchpoint:
    return msgspec.convert({"source": "website", "trust": "server", "type": "track", "name": "x", "timestamp": 10 * DAY,
                            "received_at": 10 * DAY} | {
        key: msgspec.Raw(msgspec.json.encode(value)) if isinstance(value, dict) else value
        for key, value in fields.items()}, Touchpoint)


def of(**fields: Any) -> State | None:
    made = touchpoint(**fields)
    return says(made, canonical_name(made.name), "e")


def test_an_ordinary_touchpoint_says_nothing():
    assert of(properties={"email": "ada@example.com"}) is None


def test_an_identify_sets_traits():
    state = of(type="identify", traits={"name": "Ada", "age": None})
    assert state is not None
    assert traits_of(state) == {"age": None, "name": "Ada"}


def test_a_groups_traits_are_the_accounts():
    made = touchpoint(type="group", account="acme", traits={"industry": "steel"})
    state, account = says(made, "grouped", "e"), says_of_account(made, "e")
    assert state is not None
    assert account is not None
    assert (traits_of(state), state.account[0].value) == ({}, "acme")
    assert (account.account, traits_of(account.state)) == ("acme", {"industry": "steel"})


def test_a_group_id_beside_a_touchpoint_tells_the_persons_account_only():
    made = touchpoint(account="acme", traits={})
    assert says_of_account(made, "e") is None
    state = says(made, "x", "e")
    assert state is not None
    assert state.account[0].value == "acme"


@pytest.mark.parametrize(("fields", "consent"), [
    ({"type": "identify", "traits": {"consent": {"news": True, "ads": False, "calls": "yes"}}},
     {"news": True, "ads": False, "calls": False}),
    ({"type": "identify", "traits": {"consent.news": True}}, {"news": True}),
    ({"name": "consent_given", "properties": {"purpose": "news"}}, {"news": True}),
    ({"name": "Consent Withdrawn", "properties": {"purpose": ["news", "ads"]}}, {"news": False, "ads": False}),
    ({"name": "consent_given", "properties": {}}, {}),
    ({"name": "consent_given", "properties": {"purpose": 7}}, {}),
])
def test_consent_is_given_by_trait_or_by_touchpoint_and_anything_but_true_is_no(fields, consent):
    assert consent_of(of(**fields) or State()) == consent


def test_elements_of_sets_come_one_by_one_or_as_a_list():
    state = of(add={"tags": ["red", "blue"], "seen": "shop", "nothing": None})
    assert state is not None
    assert traits_of(state) == {"seen": ["shop"], "tags": ["red", "blue"]}


@pytest.mark.parametrize(("trust", "at"), [("server", 0), ("browser", 10 * DAY - BROWSER_LATENESS_MS)])
def test_a_browser_cannot_be_first_by_an_invented_time(trust, at):
    state = of(trust=trust, timestamp=0, set_once={"source": "ad"}, traits={"plan": "pro"})
    assert state is not None
    assert (state.once["source"][0].at, state.set["plan"][0].at) == (at, 0)
