"""Claiming rows and judging them again, in one transaction: what passes the gates stays claimed, what does not goes
back to the orchestrator with its reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from percorso_orchestrator.delivery_ledger import Claimed, Stopped, claim, stop
from percorso_orchestrator.gates import CLAIM_GATES, Verdict, judge
from percorso_orchestrator.model import Gate
from percorso_services.delivery_worker.claim_facts import Person, read_facts
from percorso_services.delivery_worker.published import Published
from percorso_shared.clock import Clock, to_datetime
from percorso_shared.crash_points import reach

LEASE = timedelta(seconds=60)
"""For what is claimed and not begun."""
_WITH_ADDRESS: frozenset[Gate] = CLAIM_GATES | {"channel reachable"}
_WORDS: dict[Gate, str] = {"channel reachable": "unreachable", "run active": "run ended"}
"""As the orchestrator calls these gates in a trace."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A claimed row that passed the gates."""

    row: Claimed
    person: Person
    address: str


@dataclass(frozen=True, slots=True)
class Claim:
    """What one claim brought."""

    ready: tuple[Ready, ...]
    stopped: tuple[Stopped, ...]


async def claim_and_judge(pool: Any, workspace: int, channel: str, clock: Clock, published: Published, *,
                          limit: int, per_address: int = 1_000_000, but_not: Sequence[str] = ()) -> Claim:
    """One transaction. Nothing to do: an empty claim."""
    reach("delivery.before_claim")
    now_ms = clock.now_ms()
    now = to_datetime(now_ms)
    async with pool.acquire() as connection, connection.transaction():
        rows = await claim(connection, workspace, channel, now, now + LEASE, limit=limit, per_address=per_address,
                           but_not=but_not)
        if not rows:
            return Claim((), ())
        known = await read_facts(connection, workspace, rows)
        policies = await published.policies(connection)
        ready: list[Ready] = []
        stopped: list[Stopped] = []
        for row in rows:
            person = known.person(row)
            address = row.address if channel != "email" or (row.resend_of and row.address) else person.email or ""
            policy = policies.get(row.policy)
            verdict = judge(policy, known.facts(row, policy, address), now_ms, _WITH_ADDRESS) if policy else _no_policy(
                now_ms)
            if verdict.outcome == "send":
                ready.append(Ready(row, person, address))
            else:
                stopped.append(_stopped(row, verdict))
        await stop(connection, workspace, now, stopped)
    if ready:
        reach("delivery.claimed")
    return Claim(tuple(ready), tuple(stopped))


def _no_policy(now_ms: int) -> Verdict:
    """A policy that was published away cannot be judged by: hold, and try again."""
    return Verdict("retry", None, now_ms + 60_000, ())


def _stopped(row: Claimed, verdict: Verdict) -> Stopped:
    if verdict.gate is None:
        gate, reason = "run active", "there is no such policy"
    else:
        gate, reason = verdict.gate, _WORDS.get(verdict.gate, verdict.gate)
    until = None if verdict.until is None else to_datetime(verdict.until)
    return Stopped(row.send_id, row.epoch, "skipped" if verdict.outcome == "skip" else "held", gate, reason, until)
