"""accepted = resolved + duplicate + set_aside + erased + in_flight, whatever was counted when."""

from hypothesis import given, settings
from hypothesis import strategies as st

from percorso_services.profile_api.balance import BEFORE, IDENTITY, INGEST, PROFILE, WORKED_ON, balance, share

SOURCES = st.sampled_from(["", "website", "backend"])
COUNTS = st.dictionaries(
    st.tuples(SOURCES, st.sampled_from([INGEST, *BEFORE]), st.sampled_from(["accepted", "refused", *WORKED_ON])),
    st.integers(0, 1000), max_size=12)


@settings(max_examples=50)
@given(COUNTS, st.integers(0, 500), st.integers(0, 500))
def test_every_line_balances_and_all_that_is_unread_is_in_flight(counts, identity, profile):
    lines = balance(counts, {IDENTITY: identity, PROFILE: profile})
    for line in lines:
        assert line.accepted == line.resolved + line.duplicate + line.set_aside + line.erased + line.in_flight
    for stage, unread in ((IDENTITY, identity), (PROFILE, profile)):
        assert sum(line.in_flight for line in lines if line.stage == stage) == unread


@settings(max_examples=50)
@given(st.integers(0, 1000), st.dictionaries(SOURCES, st.integers(0, 50), min_size=1))
def test_shares_add_up(total, weights):
    assert sum(share(total, weights).values()) == total


def test_what_ingest_has_counted_tells_whose_the_unread_are():
    counts = {("website", INGEST, "accepted"): 10, ("backend", INGEST, "accepted"): 5,
              ("website", IDENTITY, "resolved"): 4, ("backend", IDENTITY, "resolved"): 5}
    lines = {line.source: line for line in balance(counts, {IDENTITY: 6, PROFILE: 0}) if line.stage == IDENTITY}
    assert (lines["website"].in_flight, lines["backend"].in_flight) == (6, 0)


def test_a_count_of_ingest_that_a_crash_lost_leaves_nothing_in_flight():
    counts = {("website", INGEST, "accepted"): 10, ("website", IDENTITY, "resolved"): 12}
    (line,) = [line for line in balance(counts, {IDENTITY: 0}) if line.stage == IDENTITY]
    assert (line.accepted, line.in_flight) == (12, 0)
