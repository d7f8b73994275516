"""The minute's check: entered = active + ended by reason, and no run is stuck."""

from dataclasses import dataclass
from typing import Any

_TALLIES = """
SELECT journey, sum(n) FILTER (WHERE name = 'entered')::bigint AS entered,
       (coalesce(sum(n) FILTER (WHERE name LIKE 'ended:%'), 0)
        - coalesce(sum(n) FILTER (WHERE name = 'resumed:merged'), 0))::bigint AS ended
FROM orchestrator.tally WHERE workspace_id = $1 GROUP BY journey
"""

_ACTIVE = """
SELECT journey, count(*) AS n FROM orchestrator.run WHERE workspace_id = $1 AND state = 'active' GROUP BY journey
"""

_STUCK = """
SELECT r.run_id, r.journey, r.step,
       (t.run_id IS NOT NULL)::int + (SELECT count(*) FROM orchestrator.send s WHERE s.workspace_id = $1
           AND s.run_id = r.run_id AND s.resend_of IS NULL
           AND (s.state IN ('planned', 'held', 'claimed', 'sending') OR NOT s.advanced)) AS ways
FROM orchestrator.run r
LEFT JOIN orchestrator.timer t ON t.workspace_id = $1 AND t.run_id = r.run_id
WHERE r.workspace_id = $1 AND r.state = 'active'
"""


@dataclass(frozen=True, slots=True)
class Check:
    """Of one workspace at one moment."""

    active: int
    unbalanced: dict[str, int]
    """journey -> entered - active - ended, where that is not 0."""
    stuck: int
    """Active runs that have not exactly one of timer, held send and open send. Never silently: an alarm."""


async def check_runs(connection: Any, workspace: int) -> Check:
    """Reads one snapshot: the caller opens a transaction that is repeatable read."""
    active = {row["journey"]: row["n"] for row in await connection.fetch(_ACTIVE, workspace)}
    unbalanced = {}
    for row in await connection.fetch(_TALLIES, workspace):
        difference = (row["entered"] or 0) - row["ended"] - active.get(row["journey"], 0)
        if difference:
            unbalanced[row["journey"]] = difference
    stuck = await connection.fetchval(f"SELECT count(*) FROM ({_STUCK}) AS c WHERE ways <> 1", workspace)
    return Check(sum(active.values()), unbalanced, stuck)
