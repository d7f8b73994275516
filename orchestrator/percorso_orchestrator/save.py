"""Writes what a unit of work decided: a fixed number of statements, rows in sorted order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import msgspec

from percorso_orchestrator.catalogue import Catalogue
from percorso_orchestrator.causes import Outcome
from percorso_orchestrator.model import Decision, Run, SendChange, Waiting
from percorso_orchestrator.run_json import run_to_json
from percorso_shared.clock import to_datetime

NEVER = datetime(9999, 12, 31, tzinfo=UTC)
"""Of a timer that only an event ends: far behind every clock."""
DEFAULT_LATENESS_MS = 30_000
SEND_CHANNEL = "percorso_send"


@dataclass(slots=True)
class Changes:
    """Collected while causes are worked through, in order."""

    runs: dict[str, Run] = field(default_factory=dict)
    sends: dict[str, tuple[Run, SendChange]] = field(default_factory=dict)
    cancelled: dict[str, None] = field(default_factory=dict)
    decisions: list[tuple[str, int, str | None, str, Decision]] = field(default_factory=list)
    """(journey, version, run id, person, decision)"""
    counts: dict[tuple[str, int, str], int] = field(default_factory=dict)
    exposures: dict[tuple[str, str, str], tuple[str, int]] = field(default_factory=dict)
    """(journey, step, atom) -> (arm, instant)"""
    parked: set[str] = field(default_factory=set)
    """Open sends of runs that are suspended by a merge: not to be sent meanwhile."""
    released: set[str] = field(default_factory=set)
    """Held sends of runs that were resumed: to be judged again."""

    def add(self, outcome: Outcome) -> None:
        """What the interpreter returned."""
        run = outcome.run
        self.runs[run.run_id] = run
        for change in outcome.sends:
            before = self.sends.get(change.send_id)
            first = change.first or (before is not None and before[1].first)
            self.sends[change.send_id] = (run, change if first == change.first else _as_first(change))
        for send_id in outcome.cancelled:
            there = self.sends.get(send_id)
            if there is None or not there[1].first:
                self.cancelled[send_id] = None
        for decision in outcome.decisions:
            self.decisions.append((run.journey, run.version, run.run_id, run.person, decision))
        for name, n in (outcome.counts or {}).items():
            self.count(run.journey, run.version, name, n)
        for step, arm in outcome.exposures:
            self.exposures[run.journey, step, run.atom] = (arm, run.at)

    def count(self, journey: str, version: int, name: str, n: int = 1) -> None:
        key = (journey, version, name)
        self.counts[key] = self.counts.get(key, 0) + n


def _as_first(change: SendChange) -> SendChange:
    return replace(change, first=True)


def _json(value: Mapping[str, Any]) -> str:
    return msgspec.json.encode(value).decode()


def _when(ms: int | None) -> datetime | None:
    return None if ms is None else to_datetime(ms)


def _id(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)


_RUNS = """
INSERT INTO orchestrator.run AS r (workspace_id, run_id, journey, version, person, atom, key, state, ended_reason,
    ended_as, entered_at, ended_at, entry_event, step, due_at, goal_until, goal_at, goal_value, body, created_at,
    updated_at)
SELECT $1, c.run_id, c.journey, c.version, c.person, c.atom, c.key, c.state, c.ended_reason, c.ended_as, c.entered_at,
       c.ended_at, c.entry_event, c.step, c.due_at, c.goal_until, c.goal_at, c.goal_value, c.body::jsonb, $2, $2
FROM unnest($3::uuid[], $4::text[], $5::int[], $6::uuid[], $7::uuid[], $8::text[], $9::text[], $10::text[],
            $11::text[], $12::timestamptz[], $13::timestamptz[], $14::uuid[], $15::text[], $16::timestamptz[],
            $17::timestamptz[], $18::timestamptz[], $19::float8[], $20::text[])
     AS c (run_id, journey, version, person, atom, key, state, ended_reason, ended_as, entered_at, ended_at,
           entry_event, step, due_at, goal_until, goal_at, goal_value, body)
ON CONFLICT (workspace_id, run_id) DO UPDATE SET
    version = excluded.version, person = excluded.person, state = excluded.state,
    ended_reason = excluded.ended_reason, ended_as = excluded.ended_as, ended_at = excluded.ended_at,
    step = excluded.step, due_at = excluded.due_at, goal_until = excluded.goal_until, goal_at = excluded.goal_at,
    goal_value = excluded.goal_value, body = excluded.body, updated_at = excluded.updated_at
"""

_TIMERS = """
INSERT INTO orchestrator.timer AS t (workspace_id, run_id, step, generation, clock, due_at, wake_at)
SELECT $1, c.run_id, c.step, c.generation, c.clock, c.due_at, c.wake_at
FROM unnest($2::uuid[], $3::text[], $4::int[], $5::text[], $6::timestamptz[], $7::timestamptz[])
     AS c (run_id, step, generation, clock, due_at, wake_at)
ON CONFLICT (workspace_id, run_id) DO UPDATE SET step = excluded.step, generation = excluded.generation,
    clock = excluded.clock, due_at = excluded.due_at, wake_at = excluded.wake_at
"""

_UNSUBSCRIBE = """
DELETE FROM orchestrator.subscription s
WHERE s.workspace_id = $1 AND s.atom = ANY($2::uuid[])
  AND (s.atom, s.run_id, s.name) IN (SELECT * FROM unnest($2::uuid[], $3::uuid[], $4::text[]))
"""

_SUBSCRIBE = """
INSERT INTO orchestrator.subscription (workspace_id, atom, name, run_id)
SELECT $1, c.atom, c.name, c.run_id FROM unnest($2::uuid[], $3::uuid[], $4::text[]) AS c (atom, run_id, name)
ON CONFLICT DO NOTHING
"""

_NEW_SENDS = """
INSERT INTO orchestrator.send (workspace_id, send_id, journey, version, run_id, step, visit, person, atom, channel,
    address, template, policy, cap_group, payload, due_at, wanted_at, not_before, gate, state, reason,
    idempotency_key, created_at, updated_at, advanced)
SELECT $1, c.send_id, c.journey, c.version, c.run_id, c.step, c.visit, c.person, c.atom, c.channel, c.address,
       c.template, c.policy, c.cap_group, c.payload::jsonb, c.due_at, c.wanted_at, c.not_before, c.gate, c.state,
       c.reason, replace(c.send_id::text, '-', ''), $2, $2, c.state <> 'planned'
FROM unnest($3::uuid[], $4::text[], $5::int[], $6::uuid[], $7::text[], $8::int[], $9::uuid[], $10::uuid[], $11::text[],
            $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::timestamptz[], $18::timestamptz[],
            $19::timestamptz[], $20::text[], $21::text[], $22::text[])
     AS c (send_id, journey, version, run_id, step, visit, person, atom, channel, address, template, policy, cap_group,
           payload, due_at, wanted_at, not_before, gate, state, reason)
ON CONFLICT DO NOTHING
"""

_OLD_SENDS = """
UPDATE orchestrator.send s SET state = c.state, due_at = c.due_at, not_before = c.not_before, gate = c.gate,
    reason = c.reason, payload = c.payload::jsonb, template = c.template, address = c.address, policy = c.policy,
    cap_group = c.cap_group, updated_at = $2, advanced = c.state <> 'planned', epoch = s.epoch + 1, lease_until = NULL
FROM unnest($3::uuid[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::text[], $8::text[], $9::text[],
            $10::text[], $11::text[], $12::text[], $13::text[])
     AS c (send_id, state, due_at, not_before, gate, reason, payload, template, address, policy, cap_group)
WHERE s.workspace_id = $1 AND s.send_id = c.send_id AND s.state IN ('held', 'planned')
"""

_DECISIONS = """
INSERT INTO orchestrator.decision (workspace_id, journey, version, run_id, person, at, step, visit, kind, reason,
    detail, event_id, recorded_at)
SELECT $1, c.journey, c.version, c.run_id, c.person, c.at, c.step, c.visit, c.kind, c.reason, c.detail::jsonb,
       c.event_id, $2
FROM unnest($3::text[], $4::int[], $5::uuid[], $6::uuid[], $7::timestamptz[], $8::text[], $9::int[], $10::text[],
            $11::text[], $12::text[], $13::uuid[])
     WITH ORDINALITY AS c (journey, version, run_id, person, at, step, visit, kind, reason, detail, event_id, n)
ORDER BY c.n
"""

_TALLY = """
INSERT INTO orchestrator.tally AS t (workspace_id, journey, version, name, n)
SELECT $1, c.journey, c.version, c.name, c.n
FROM unnest($2::text[], $3::int[], $4::text[], $5::bigint[]) AS c (journey, version, name, n)
ON CONFLICT (workspace_id, journey, version, name) DO UPDATE SET n = t.n + excluded.n
"""


async def save(connection: Any, catalogue: Catalogue, changes: Changes, before: Mapping[str, Run],
               now_ms: int, default_lateness_ms: int = DEFAULT_LATENESS_MS) -> None:
    """In the caller's transaction. `before`: the runs as they were read (none for new ones)."""
    workspace, now = catalogue.workspace, to_datetime(now_ms)
    ordered = sorted(changes.runs.values(), key=lambda run: run.run_id)
    for active in (False, True):  # ended ones first: another may take their place among the active
        await _write_runs(connection, workspace, [run for run in ordered if (run.state == "active") is active], now)
    if ordered:
        await _write_timers(connection, catalogue, ordered, default_lateness_ms)
        await _write_subscriptions(connection, catalogue, ordered, before)
    await _write_sends(connection, workspace, changes, now)
    if changes.decisions:
        columns = list(zip(*(
            (journey, version, _id(run), bytes.fromhex(person), to_datetime(d.at), d.step, d.visit, d.kind, d.reason,
             _json(d.detail), _id(d.event_id)) for journey, version, run, person, d in changes.decisions), strict=True))
        await connection.execute(_DECISIONS, workspace, now, *(list(column) for column in columns))
    counts = sorted((*key, n) for key, n in changes.counts.items())
    if counts:
        await connection.execute(_TALLY, workspace, *(list(column) for column in zip(*counts, strict=True)))
    if changes.exposures:
        await connection.execute(
            "INSERT INTO orchestrator.exposure (workspace_id, journey, step, atom, arm, at) "
            "SELECT $1, * FROM unnest($2::text[], $3::text[], $4::uuid[], $5::text[], $6::timestamptz[]) "
            "ON CONFLICT DO NOTHING", workspace,
            *(list(column) for column in zip(*(
                (journey, step, bytes.fromhex(atom), arm, to_datetime(at))
                for (journey, step, atom), (arm, at) in sorted(changes.exposures.items())), strict=True)))


async def _write_runs(connection: Any, workspace: int, runs: Sequence[Run], now: datetime) -> None:
    if not runs:
        return
    rows = [(bytes.fromhex(run.run_id), run.journey, run.version, bytes.fromhex(run.person), bytes.fromhex(run.atom),
             run.key, run.state, run.ended_reason, run.ended_as, to_datetime(run.entered_at), _when(run.ended_at),
             bytes.fromhex(run.entry_event), run.step,
             _when(run.parked.deadline) if isinstance(run.parked, Waiting) else None,
             _when(run.goal_until) if run.goal_open else None, _when(run.goal_at), run.goal_value, run_to_json(run))
            for run in runs]
    await connection.execute(_RUNS, workspace, now, *(list(column) for column in zip(*rows, strict=True)))


def lateness_of(catalogue: Catalogue, run: Run, default_ms: int) -> int:
    """How long absence waits for late touchpoints."""
    lateness = catalogue.versions[run.journey, run.version].lateness
    return default_ms if lateness is None else lateness.milliseconds


async def _write_timers(connection: Any, catalogue: Catalogue, runs: Sequence[Run], default_ms: int) -> None:
    rows: list[tuple[Any, ...]] = []
    gone: list[bytes] = []
    for run in runs:
        if run.state != "active" or not isinstance(run.parked, Waiting):
            gone.append(bytes.fromhex(run.run_id))
            continue
        due = run.parked.deadline
        late = 0 if run.parked.retry else lateness_of(catalogue, run, default_ms)
        rows.append((bytes.fromhex(run.run_id), run.step, run.generation, "real" if run.parked.retry else "stream",
                     NEVER if due is None else to_datetime(due), NEVER if due is None else to_datetime(due + late)))
    if gone:
        await connection.execute("DELETE FROM orchestrator.timer WHERE workspace_id = $1 AND run_id = ANY($2::uuid[])",
                                 catalogue.workspace, gone)
    if rows:
        await connection.execute(_TIMERS, catalogue.workspace, *(list(column) for column in zip(*rows, strict=True)))


def names_heard_by(catalogue: Catalogue, run: Run | None) -> frozenset[str]:
    """What a run listens to as it stands."""
    if run is None or run.state == "suspended":
        return frozenset()
    definition = catalogue.versions[run.journey, run.version]
    if run.state == "active":
        return definition.names_while_active() | definition.names_of_step(run.step)
    return frozenset({definition.goal.on.event}) if definition.goal and run.goal_open else frozenset()


async def _write_subscriptions(connection: Any, catalogue: Catalogue, runs: Sequence[Run],
                               before: Mapping[str, Run]) -> None:
    less: list[tuple[bytes, bytes, str]] = []
    more: list[tuple[bytes, bytes, str]] = []
    for run in runs:
        old, new = names_heard_by(catalogue, before.get(run.run_id)), names_heard_by(catalogue, run)
        place = (bytes.fromhex(run.atom), bytes.fromhex(run.run_id))
        less += [(*place, name) for name in sorted(old - new)]
        more += [(*place, name) for name in sorted(new - old)]
    for statement, rows in ((_UNSUBSCRIBE, less), (_SUBSCRIBE, more)):
        if rows:
            await connection.execute(statement, catalogue.workspace,
                                     *(list(column) for column in zip(*sorted(rows), strict=True)))


async def _write_sends(connection: Any, workspace: int, changes: Changes, now: datetime) -> None:
    new: list[tuple[Any, ...]] = []
    old: list[tuple[Any, ...]] = []
    for send_id, (run, c) in sorted(changes.sends.items()):
        if c.first:
            new.append((bytes.fromhex(send_id), run.journey, run.version, bytes.fromhex(run.run_id), c.step, c.visit,
                        bytes.fromhex(run.person), bytes.fromhex(run.atom), c.channel, c.address, c.template, c.policy,
                        c.cap_group, _json(c.payload), to_datetime(c.due_at), to_datetime(c.wanted_at),
                        _when(c.not_before), c.gate, c.state, c.reason))
        else:
            old.append((bytes.fromhex(send_id), c.state, to_datetime(c.due_at), _when(c.not_before), c.gate, c.reason,
                        _json(c.payload), c.template, c.address, c.policy, c.cap_group))
    if new:
        await connection.execute(_NEW_SENDS, workspace, now, *(list(column) for column in zip(*new, strict=True)))
    if old:
        await connection.execute(_OLD_SENDS, workspace, now, *(list(column) for column in zip(*old, strict=True)))
    if changes.cancelled:
        await connection.execute(
            "UPDATE orchestrator.send SET state = 'skipped', gate = 'run active', reason = 'run ended', "
            "advanced = true, epoch = epoch + 1, updated_at = $3 WHERE workspace_id = $1 AND send_id = ANY($2::uuid[]) "
            "AND state IN ('planned', 'held', 'claimed')", workspace,
            [bytes.fromhex(s) for s in sorted(changes.cancelled)], now)
    if changes.parked:
        await connection.execute(
            "UPDATE orchestrator.send SET state = 'held', gate = 'run active', reason = 'merged', not_before = NULL, "
            "advanced = true, epoch = epoch + 1, updated_at = $3 WHERE workspace_id = $1 "
            "AND send_id = ANY($2::uuid[]) AND state IN ('planned', 'held', 'claimed')",
            workspace, [bytes.fromhex(s) for s in sorted(changes.parked)], now)
    if changes.released:
        await connection.execute(
            "UPDATE orchestrator.send SET not_before = $3, updated_at = $3 WHERE workspace_id = $1 "
            "AND send_id = ANY($2::uuid[]) AND state = 'held'",
            workspace, [bytes.fromhex(s) for s in sorted(changes.released)], now)
    if any(change.state == "planned" for _, change in changes.sends.values()):
        await connection.execute("SELECT pg_notify($1, '')", SEND_CHANNEL)
