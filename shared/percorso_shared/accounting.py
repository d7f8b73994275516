"""What became of touchpoints, counted inside the unit of work that decided it: exact, and never counted twice."""

from collections.abc import Mapping
from typing import Any, Literal

from percorso_shared.clock import to_datetime

Outcome = Literal["accepted", "refused", "resolved", "duplicate", "set_aside", "erased"]

UNKNOWN_SOURCE = ""
"""For records so broken that their source cannot be read."""

_HOUR_MS = 3_600_000

_ACCOUNT = """
INSERT INTO bus.accounting AS a (workspace_id, source, stage, hour, outcome, n)
SELECT $1, c.source, $2, $3, c.outcome, c.n
FROM unnest($4::text[], $5::text[], $6::bigint[]) AS c (source, outcome, n)
ON CONFLICT (workspace_id, source, stage, hour, outcome) DO UPDATE SET n = a.n + excluded.n
"""


async def account(connection: Any, workspace: int, stage: str, counts: Mapping[tuple[str, str], int],
                  now_ms: int) -> None:
    """Adds `{(source, outcome): n}` to the hour of `now_ms`, in the caller's transaction. Rows are taken in sorted
    order, so that two stages that count at once never lock each other out."""
    wanted = sorted((source, outcome, n) for (source, outcome), n in counts.items() if n)
    if not wanted:
        return
    sources, outcomes, numbers = zip(*wanted, strict=True)
    await connection.execute(_ACCOUNT, workspace, stage, to_datetime(now_ms - now_ms % _HOUR_MS),
                             list(sources), list(outcomes), list(numbers))
