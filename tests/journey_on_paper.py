"""Plays one test of a journey, both written down in the test that calls it."""

from textwrap import dedent, indent

from percorso_orchestrator.journey_test import run_file_tests
from percorso_orchestrator.read_journey import read_journey
from percorso_orchestrator.read_policies import read_policies

POLICIES = """
holds:
  ticket:
    open: {event: ticket_opened, key: event.ticket}
    close: {event: ticket_closed, key: event.ticket}
    covers: [person, account]
    max: 3d
policies:
  free: {}
  quiet: {quiet: {from: "21:00", to: "08:00"}}
  agreed: {consent: marketing}
  held: {hold_while: [ticket]}
  stale: {hold_while: [ticket], stale_after: 1d}
  capped: {cap: {group: g, max: 1, per: 1d, when_full: hold}}
  dropped: {cap: {group: g, max: 1, per: 1d, when_full: skip}}
  all: {consent: marketing, hold_while: [ticket], quiet: {from: "21:00", to: "08:00"}, stale_after: 10d}
"""


def plays(journey: str, test: str) -> list[str]:
    """`journey` without its name and tests; `test` without its name. Returns what differs from the expectation."""
    text = "journey: j\n" + dedent(journey).strip() + "\ntests:\n  - name: it\n" + indent(dedent(test).strip(), "    ")
    [result] = run_file_tests(read_journey(text), read_policies(POLICIES))
    return list(result.problems)
