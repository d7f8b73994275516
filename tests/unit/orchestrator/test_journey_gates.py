"""The gates before every outward step, in their order."""

from dataclasses import replace

import pytest

from percorso_orchestrator.calendar import TimeOfDay
from percorso_orchestrator.definition import Cap, Policy, Quiet
from percorso_orchestrator.durations import parse_duration
from percorso_orchestrator.gates import CLAIM_GATES, RETRY_MS, Facts, OpenHold, judge

HOUR = 3_600_000
NOON = 1_772_452_800_000
"""2026-03-02 12:00 UTC"""

STRICT = Policy(
    "strict", consent="marketing", hold_while=("ticket",), quiet=Quiet(TimeOfDay(21, 0), TimeOfDay(8, 0)),
    cap=Cap("g", 2, parse_duration("7d"), "hold"), stale_after=parse_duration("10d"))
FREE = Facts(run_active=True, paused=False, consent=True, zone="UTC", wanted_at=NOON, holds=(), cap_sends=(),
             reachable=True)
STOPS = {
    "run active": {"run_active": False}, "consent": {"consent": False}, "stale": {"wanted_at": NOON - 11 * 24 * HOUR},
    "hold": {"holds": (OpenHold("ticket", "t1", NOON + HOUR),)}, "cap": {"cap_sends": (NOON - HOUR, NOON - 2 * HOUR)},
    "channel reachable": {"reachable": False}}


def test_what_nothing_stops_is_sent_and_every_gate_is_in_the_trace():
    verdict = judge(STRICT, FREE, NOON)
    assert (verdict.outcome, verdict.gate) == ("send", None)
    assert [line["gate"] for line in verdict.trace] == [
        "run active", "consent", "stale", "hold", "quiet hours", "cap", "channel reachable"]


def test_gates_that_a_policy_does_not_have_answer_not_configured():
    verdict = judge(Policy("internal"), replace(FREE, reachable_configured=False), NOON)
    assert verdict.outcome == "send"
    assert [line["says"] for line in verdict.trace] == ["passes"] + ["not configured"] * 6


@pytest.mark.parametrize("first", STOPS)
def test_the_first_gate_that_stops_it_is_the_reason(first):
    order = list(STOPS)
    facts = replace(FREE, **{name: value for gate in order[order.index(first):] for name, value in STOPS[gate].items()})
    verdict = judge(STRICT, facts, NOON)
    assert verdict.gate == first
    assert verdict.outcome == ("hold" if first in ("hold", "cap") else "skip")


@pytest.mark.parametrize(("gate", "unknown"), [
    ("run active", "run_active"), ("consent", "consent"), ("hold", "holds"), ("cap", "cap_sends"),
    ("channel reachable", "reachable")])
def test_what_cannot_be_read_is_held_and_tried_again_never_continued(gate, unknown):
    verdict = judge(STRICT, replace(FREE, **{unknown: None}), NOON)
    assert (verdict.outcome, verdict.gate, verdict.until) == ("retry", gate, NOON + RETRY_MS)


def test_a_paused_journey_holds_without_an_end():
    verdict = judge(STRICT, replace(FREE, paused=True), NOON)
    assert (verdict.outcome, verdict.gate, verdict.until) == ("hold", "run active", None)


def test_quiet_hours_hold_until_their_end():
    verdict = judge(STRICT, FREE, NOON + 10 * HOUR)
    assert (verdict.outcome, verdict.gate, verdict.until) == ("hold", "quiet hours", NOON + 20 * HOUR)


def test_holds_last_until_the_last_of_them_ends():
    holds = (OpenHold("ticket", "t1", NOON + HOUR), OpenHold("ticket", "t2", NOON + 3 * HOUR),
             OpenHold("other", "t3", None))
    assert judge(STRICT, replace(FREE, holds=holds), NOON).until == NOON + 3 * HOUR
    assert judge(STRICT, replace(FREE, holds=holds), NOON + 3 * HOUR).outcome == "send"
    assert judge(STRICT, replace(FREE, holds=(OpenHold("ticket", "t", None),)), NOON).until is None


def test_a_cap_frees_when_the_oldest_send_that_fills_it_is_old_enough():
    week = 7 * 24 * HOUR
    sends = (NOON - week, NOON - 3 * HOUR, NOON - 2 * HOUR, NOON - HOUR)
    assert judge(STRICT, replace(FREE, cap_sends=sends), NOON).until == NOON - 2 * HOUR + week
    assert judge(STRICT, replace(FREE, cap_sends=sends[:2]), NOON).outcome == "send"


def test_delivery_judges_again_without_the_cap_whose_slot_the_row_itself_has_taken():
    facts = replace(FREE, cap_sends=None, reachable=None)
    assert judge(STRICT, facts, NOON, CLAIM_GATES).outcome == "send"
