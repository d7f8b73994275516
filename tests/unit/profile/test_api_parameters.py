"""Instants, cursors and addresses of the query API."""

from datetime import UTC, datetime

import pytest

from percorso_services.profile_api.address import atoms_meant
from percorso_services.profile_api.parameters import instant, iso, make_cursor, read_cursor
from percorso_services.profile_api.problems import BadRequest
from percorso_shared.ids import atom_id

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize("text", [
    "2026-03-02T12:00:00Z", "2026-03-02T12:00:00", "2026-03-02T13:00:00+01:00", "2026-03-02T13:00:00 01:00",
    "2026-03-02T12:00:00.000Z", "1772452800000"])
def test_an_instant_is_iso_or_milliseconds(text):
    assert instant("from", text) == NOON


@pytest.mark.parametrize("text", [
    "yesterday", "2026-13-01", "-", "1e9", "٣", "99999999999999999999", "0001-01-01T00:00+14"])
def test_what_is_no_instant_is_refused(text):
    with pytest.raises(BadRequest):
        instant("from", text)


@pytest.mark.parametrize("moment", [NOON, datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)])
def test_an_instant_reads_back_as_it_was_written(moment):
    assert instant("from", iso(moment)) == moment


def test_a_cursor_leads_back_to_its_place_in_its_own_list_only():
    cursor = make_cursor("events", NOON, bytes(range(16)))
    assert read_cursor("events", cursor) == (NOON, bytes(range(16)))
    with pytest.raises(BadRequest):
        read_cursor("sends", cursor)


@pytest.mark.parametrize("cursor", ["", "x", "W10", "W251bGwsbnVsbCxudWxsXQ", "{}", "é"])
def test_what_is_no_cursor_is_refused(cursor):
    with pytest.raises(BadRequest):
        read_cursor("events", cursor)


@pytest.mark.parametrize(("address", "meant"), [
    ("email:Ada@Example.com", [("email", "ada@example.com")]),
    ("phone:%2B39%20320%201234567", [("phone", "393201234567")]),
    ("user_id:a%2Fb", [("user_id", "a/b")]),
    ("user_id:a:b", [("user_id", "a:b")]),
    ("ada", [("user_id", "ada")]),
    ("email%3Aada@example.com", [("user_id", "email:ada@example.com"), ("email", "ada@example.com")]),
    ("user_id:", []),
])
def test_an_address_means_these_identifiers(address, meant):
    assert atoms_meant(1, address) == [atom_id(1, *identifier) for identifier in meant]


def test_32_hex_digits_are_a_profile_id_first_and_a_user_id_then():
    assert atoms_meant(1, "0a" * 16) == [bytes.fromhex("0a" * 16), atom_id(1, "user_id", "0a" * 16)]
