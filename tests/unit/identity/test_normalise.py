"""One spelling per identifier."""

import pytest

from percorso_identity.identify import identify
from percorso_identity.normalise import normalise
from percorso_identity.policy import DEFAULT, Policy, TypeRule


@pytest.mark.parametrize(("type_", "raw", "value"), [
    ("email", " UserName@Example.com ", "username@example.com"),
    ("email", '"ada@example.com"', "ada@example.com"),
    ("email", "ada@xn--bcher-kva.example", "ada@bücher.example"),
    ("email", "5d41402abc4b2a76b9719d911017c592", "5d41402abc4b2a76b9719d911017c592"),
    ("phone", "+1 555 0100", "15550100"),
    ("phone", "15550100", "15550100"),
    ("phone", "(555) 010-0100", "5550100100"),
    ("phone", "+44 (0)20 7946 0958", "442079460958"),
    ("phone", "+39 02 1234567", "39021234567"),
    ("user_id", "  Ada ", "Ada"),
    ("user_id", "'42'", "42"),
    ("user_id", "e\u0301", "\u00e9"),
    ("user_id", "a\x00b", "ab"),
    ("user_id", "\ud800", "?"),
])
def test_an_identifier_is_known_under_one_spelling(type_, raw, value):
    assert normalise(type_, raw, DEFAULT) == (type_, value, False)


@pytest.mark.parametrize("raw", [
    "null", "NULL", '"undefined"', "uNdEfInEd", "none", "NaN", "0", "00000000-0000-0000-0000-000000000000", "---", "-1",
    "anonymous", "guest", "true", "False", "id", "distinct_id", "test", "unknown", "n/a", "[object Object]",
    "Test@Test.com", "'null'", '"" '])
def test_what_programs_write_for_nothing_identifies_nobody(raw):
    found = normalise("user_id", raw, DEFAULT)
    assert found is None or found.blocked


@pytest.mark.parametrize("raw", ["", "   ", '""', "\t\n", '"'])
def test_an_empty_value_is_no_identifier(raw):
    assert normalise("user_id", raw, DEFAULT) is None


def test_a_phone_without_country_gets_the_workspaces_region():
    assert normalise("phone", "02 1234567", Policy(region="IT")) == ("phone", "39021234567", False)


def test_a_type_folds_case_only_if_the_policy_says_so():
    folding = Policy(types={"login": TypeRule(rank=1, limit=1, fold="lower")})
    assert normalise("login", "ADA", folding) == ("login", "ada", False)
    assert normalise("login", "ADA", DEFAULT) == ("login", "ADA", False)


def test_a_workspace_blocks_values_of_its_own():
    assert normalise("user_id", " Demo ", Policy(blocked=("demo",))) == ("user_id", "demo", True)


def test_the_same_set_is_the_same_link_in_any_order_spelling_and_number():
    one = identify(1, [("email", "Ada@example.com"), ("user_id", "7")], DEFAULT)
    other = identify(1, [("user_id", " 7"), ("email", "ada@example.com"), ("user_id", "7")], DEFAULT)
    assert one == other
    assert one is not None
    assert one != identify(2, [("user_id", "7"), ("email", "ada@example.com")], DEFAULT)


def test_identifiers_that_identify_nobody_are_kept_in_the_link():
    found = identify(1, [("user_id", "null"), ("anonymous_id", "a")], DEFAULT)
    assert found is not None
    assert len(found.atoms) == 2
    assert (found.usable, found.mixed, found.strong) == (True, False, False)
    junk = identify(1, [("user_id", "null")], DEFAULT)
    assert junk is not None
    assert not junk.usable
