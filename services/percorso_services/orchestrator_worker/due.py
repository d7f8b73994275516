"""What no touchpoint causes: timers that fall due, sends that were settled, held sends that are judged again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from percorso_orchestrator.catalogue import Catalogue, Catalogues
from percorso_orchestrator.causes import Due, Judge, Settled
from percorso_orchestrator.load import as_bytes, lock_people, runs_by_id
from percorso_orchestrator.model import Run, Waiting
from percorso_orchestrator.save import DEFAULT_LATENESS_MS, lateness_of
from percorso_orchestrator.unit import JourneyWork
from percorso_shared.bus.port import Bus, Tx
from percorso_shared.clock import to_datetime, to_ms

BATCH = 200
SWEEP_MS = 60_000
_LOCK = 0x6A6F_7572

_NEWS = """
SELECT s.send_id, s.run_id, s.step, s.resend_of, s.state, s.due_at, s.sent_at, s.updated_at, s.attempts, s.reason
FROM orchestrator.send s
JOIN orchestrator.run r ON r.workspace_id = $1 AND r.run_id = s.run_id AND r.state <> 'suspended'
WHERE s.workspace_id = $1 AND NOT s.advanced
  AND s.state IN ('held', 'sent', 'failed', 'skipped', 'unknown')
ORDER BY s.updated_at, s.send_id LIMIT $2
"""

_HELD = """
SELECT s.send_id, s.run_id, s.not_before, s.wanted_at
FROM orchestrator.send s
JOIN orchestrator.run r ON r.workspace_id = $1 AND r.run_id = s.run_id AND r.state = 'active'
WHERE s.workspace_id = $1 AND s.state = 'held' AND s.advanced AND s.not_before <= $2
ORDER BY s.not_before, s.wanted_at, s.send_id LIMIT $3
"""

_TIMERS = """
(SELECT t.run_id, t.generation, t.wake_at, t.clock FROM orchestrator.timer t
 WHERE t.workspace_id = $1 AND t.clock = 'stream' AND t.wake_at >= $2 AND t.wake_at <= $3 ORDER BY t.wake_at LIMIT $6)
UNION ALL
(SELECT t.run_id, t.generation, t.wake_at, t.clock FROM orchestrator.timer t
 WHERE t.workspace_id = $1 AND t.clock = 'real' AND t.wake_at >= $4 AND t.wake_at <= $5 ORDER BY t.wake_at LIMIT $6)
"""


@dataclass(slots=True)
class _Cursors:
    """Where the next claim begins to look (what is before has been claimed), so that it does not wade through dead
    rows; once a minute a full sweep begins at the beginning."""

    stream: int = 0
    real: int = 0
    swept_at: int = 0
    lowered_stream: int | None = None
    lowered_real: int | None = None
    """The earliest timers written behind the cursors since the last claim looked."""

    def lower(self, stream: int | None, real: int | None) -> None:
        if stream is not None:
            self.stream = min(self.stream, stream)
            self.lowered_stream = stream if self.lowered_stream is None else min(self.lowered_stream, stream)
        if real is not None:
            self.real = min(self.real, real)
            self.lowered_real = real if self.lowered_real is None else min(self.lowered_real, real)

    def claimed(self, stream: int, real: int) -> None:
        """Everything before these has been claimed, but for what was written meanwhile."""
        self.stream = stream if self.lowered_stream is None else min(stream, self.lowered_stream)
        self.real = real if self.lowered_real is None else min(real, self.lowered_real)


class DueWork:
    """The tick of the stage."""

    def __init__(self, bus: Bus, catalogues: Catalogues, stage: str) -> None:
        self._bus, self._catalogues, self._stage = bus, catalogues, stage
        self._cursors: dict[int, _Cursors] = {}

    async def tick(self, tx: Tx) -> bool:
        """True = there may be more."""
        stream = await self._bus.stream_clock_ms(self._stage)
        more = False
        for row in await tx.connection.fetch("SELECT workspace_id FROM orchestrator.revision ORDER BY workspace_id"):
            workspace = row["workspace_id"]
            if await tx.connection.fetchval("SELECT pg_try_advisory_xact_lock($1, $2)", _LOCK, workspace):
                more |= await self._work(tx, await self._catalogues.current(tx.connection, workspace), stream)
        return more

    async def _work(self, tx: Tx, catalogue: Catalogue, stream: int | None) -> bool:
        connection, workspace, now = tx.connection, catalogue.workspace, tx.now_ms
        news = await connection.fetch(_NEWS, workspace, BATCH)
        held = await connection.fetch(_HELD, workspace, to_datetime(now), BATCH)
        timers = await self._timers(tx, workspace, stream)
        if not news and not held and not timers:
            return False
        ids = {row["run_id"].hex() for rows in (news, held, timers) for row in rows}
        work = JourneyWork(connection, catalogue, now)
        await lock_people(connection, workspace, await _people_of(connection, workspace, ids))
        work.add_runs(await runs_by_id(connection, workspace, ids))
        await work.read_worlds((), (), now)
        await work.reconcile(work.people_that_moved)
        for row, _ in _in_order(work, news, "updated_at", "due_at"):
            _settle(work, row, now)
        for row, run in _in_order(work, held, "not_before", "wanted_at"):
            work.advance(run.run_id, Judge(row["send_id"].hex(), to_ms(row["not_before"])))
        for row, run in _in_order(work, timers, "wake_at"):
            work.advance(run.run_id, Due(row["generation"]))
        if news:
            await connection.execute(
                "UPDATE orchestrator.send SET advanced = true WHERE workspace_id = $1 AND send_id = ANY($2::uuid[])",
                workspace, sorted(row["send_id"] for row in news))
        await self._drop_stale(work, timers)
        await work.write()
        self.woken(tx, work)
        return any(len(rows) >= BATCH for rows in (news, held, timers))

    async def _timers(self, tx: Tx, workspace: int, stream: int | None) -> Sequence[Any]:
        cursors = self._cursors.setdefault(workspace, _Cursors())
        now = tx.now_ms
        sweep = now - cursors.swept_at >= SWEEP_MS
        from_stream, from_real = (0, 0) if sweep else (cursors.stream, cursors.real)
        cursors.lowered_stream = cursors.lowered_real = None
        rows: Sequence[Any] = await tx.connection.fetch(
            _TIMERS, workspace, to_datetime(from_stream), to_datetime(0 if stream is None else stream),
            to_datetime(from_real), to_datetime(now), BATCH)
        of_stream = [to_ms(row["wake_at"]) for row in rows if row["clock"] == "stream"]
        of_real = [to_ms(row["wake_at"]) for row in rows if row["clock"] == "real"]

        def claimed() -> None:
            if sweep and len(of_stream) < BATCH and len(of_real) < BATCH:
                cursors.swept_at = now
            cursors.claimed(
                max(of_stream) if len(of_stream) >= BATCH else from_stream if stream is None else stream,
                max(of_real) if len(of_real) >= BATCH else now)

        tx.after_commit(claimed)
        return rows

    async def _drop_stale(self, work: JourneyWork, timers: Sequence[Any]) -> None:
        """A wake-up of an older generation did nothing; its row goes, or is written again with the run."""
        stale = sorted((row["run_id"], row["generation"]) for row in timers)
        if stale:
            await work.connection.execute(
                "DELETE FROM orchestrator.timer t WHERE t.workspace_id = $1 AND t.run_id = ANY($2::uuid[]) "
                "AND (t.run_id, t.generation) IN (SELECT * FROM unnest($2::uuid[], $3::int[]))",
                work.catalogue.workspace, [run for run, _ in stale], [generation for _, generation in stale])

    def woken(self, tx: Tx, work: JourneyWork) -> None:
        """A timer written behind a cursor (a late touchpoint's) is looked for at once, not at the next sweep."""
        cursors = self._cursors.setdefault(work.catalogue.workspace, _Cursors())
        stream: list[int] = []
        real: list[int] = []
        for run in work.changes.runs.values():
            if run.state == "active" and isinstance(run.parked, Waiting) and run.parked.deadline is not None:
                if run.parked.retry:
                    real.append(run.parked.deadline)
                else:
                    stream.append(run.parked.deadline + lateness_of(work.catalogue, run, DEFAULT_LATENESS_MS))

        if stream or real:
            tx.after_commit(lambda: cursors.lower(min(stream, default=None), min(real, default=None)))


def _in_order(work: JourneyWork, rows: Sequence[Any], *columns: str) -> list[tuple[Any, Run]]:
    """By these columns, then in entry order of the runs; without rows whose run is gone."""
    known = [(row, work.runs[row["run_id"].hex()]) for row in rows if row["run_id"].hex() in work.runs]
    return sorted(known, key=lambda pair: (*(pair[0][column] for column in columns), *pair[1].order))


def _settle(work: JourneyWork, row: Any, now: int) -> None:
    """Sent at the first attempt: the run goes on as of the instant at which the step acted. After retries, or
    without success: as of the real one. Returned as held: its gates are judged again now.
    A re-send moves nothing."""
    if row["resend_of"] is not None:
        return
    run_id, send_id = row["run_id"].hex(), row["send_id"].hex()
    if row["state"] == "held":
        work.advance(run_id, Judge(send_id, now))
        return
    at = to_ms(row["due_at"])
    if row["state"] != "sent" or row["attempts"] > 1:
        at = max(at, to_ms(row["sent_at"] or row["updated_at"]))
    work.advance(run_id, Settled(send_id, row["step"], row["state"], at, row["reason"]))


async def _people_of(connection: Any, workspace: int, ids: set[str]) -> set[str]:
    rows = await connection.fetch(
        "SELECT coalesce(p.profile_id, r.person) AS person FROM orchestrator.run r "
        "LEFT JOIN identity.pointers p ON p.workspace_id = $1 AND p.atom_id = r.atom "
        "WHERE r.workspace_id = $1 AND r.run_id = ANY($2::uuid[])", workspace, as_bytes(sorted(ids)))
    return {row["person"].hex() for row in rows}
