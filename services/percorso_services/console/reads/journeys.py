"""Runs and decisions: what journeys did with a person, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from percorso_services.console.reads.touchpoints import Touchpoint
from percorso_shared.clock import to_datetime
from percorso_shared.control import WORKSPACE

_ATOMS = "ARRAY(SELECT atom_id FROM identity.pointers WHERE workspace_id = $1 AND profile_id = $2)"
"""Of the person $2. A run follows the home atom of its entry; an old profile id is an atom too."""
_DECISION = "journey, run_id, at, step, visit, kind, reason, detail, event_id"


@dataclass(frozen=True)
class Decision:
    journey: str
    at: datetime
    step: str | None
    kind: str
    reason: str | None
    detail: Mapping[str, Any]

    @property
    def gates(self) -> Sequence[Mapping[str, Any]]:
        """What each gate said: `gate`, `says`, perhaps `why`."""
        gates = self.detail.get("gates")
        return gates if isinstance(gates, list) else ()

    @property
    def until(self) -> datetime | None:
        until = self.detail.get("until")
        return to_datetime(int(until)) if isinstance(until, int | float) else None

    @property
    def more(self) -> Mapping[str, Any]:
        """What else the decision noted."""
        return {name: value for name, value in self.detail.items() if name not in ("gates", "until", "send")}


@dataclass(frozen=True)
class Run:
    run_id: str
    journey: str
    version: int
    key: str
    state: str
    ended_reason: str | None
    ended_as: str | None
    entered_at: datetime
    ended_at: datetime | None
    step: str | None
    due_at: datetime | None
    goal_at: datetime | None
    decisions: Sequence[Decision] = field(default=())


async def runs_of(connection: Any, person: bytes, limit: int = 20) -> list[Run]:
    """The newest runs of a person, each with its trace, oldest decision first."""
    rows = await connection.fetch(
        "SELECT run_id, journey, version, key, state, ended_reason, ended_as, entered_at, ended_at, step, due_at, "
        f"goal_at FROM orchestrator.runs WHERE workspace_id = $1 AND atom = ANY ({_ATOMS}) "
        "ORDER BY entered_at DESC LIMIT $3", WORKSPACE, person, limit)
    traces = await connection.fetch(
        f"SELECT {_DECISION} FROM orchestrator.decisions WHERE workspace_id = $1 AND run_id = ANY ($2::uuid[]) "
        "ORDER BY decision_id LIMIT 1000", WORKSPACE, [row["run_id"] for row in rows])
    by_run: dict[bytes, list[Decision]] = {}
    for trace in traces:
        by_run.setdefault(trace["run_id"], []).append(_as_decision(trace))
    return [Run(row["run_id"].hex(), row["journey"], row["version"], row["key"], row["state"], row["ended_reason"],
                row["ended_as"], row["entered_at"], row["ended_at"], row["step"], row["due_at"], row["goal_at"],
                by_run.get(row["run_id"], [])) for row in rows]


async def decisions_without_run(connection: Any, person: bytes, limit: int = 20) -> list[Decision]:
    """Why no run came of a touchpoint: newest first."""
    rows = await connection.fetch(
        f"SELECT {_DECISION} FROM orchestrator.decisions WHERE workspace_id = $1 AND person = ANY ({_ATOMS}) "
        "AND run_id IS NULL ORDER BY decision_id DESC LIMIT $3", WORKSPACE, person, limit)
    return [_as_decision(row) for row in rows]


async def decisions_caused_by(connection: Any, touchpoint: Touchpoint, limit: int = 50) -> list[Decision]:
    """What journeys did upon it. Looked for among the decisions about its present person."""
    rows = await connection.fetch(
        f"SELECT {_DECISION} FROM orchestrator.decisions d WHERE d.workspace_id = $1 AND d.event_id = $2 "
        "AND d.person IN (SELECT p.profile_id FROM profile.events e "
        "JOIN identity.links l ON l.workspace_id = $1 AND l.link_id = e.link_id "
        "JOIN identity.pointers p ON p.workspace_id = $1 AND p.atom_id = ANY (l.atoms) "
        "WHERE e.workspace_id = $1 AND e.received_at = $3 AND e.event_id = $2) ORDER BY d.decision_id LIMIT $4",
        WORKSPACE, bytes.fromhex(touchpoint.event_id), touchpoint.received_at, limit)
    return [_as_decision(row) for row in rows]


def _as_decision(row: Any) -> Decision:
    return Decision(row["journey"], row["at"], row["step"], row["kind"], row["reason"],
                    msgspec.json.decode(row["detail"]))
