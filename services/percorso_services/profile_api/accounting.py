"""GET /v1/accounting."""

from dataclasses import asdict

from fastapi import APIRouter, Request, Response

from percorso_services.profile_api import shapes
from percorso_services.profile_api.access import Reader
from percorso_services.profile_api.answer import page
from percorso_services.profile_api.balance import IDENTITY, PROFILE, balance
from percorso_services.profile_api.parameters import From, Text, To, instant
from percorso_services.profile_api.problems import Unavailable
from percorso_shared.bus.port import BusUnavailable
from percorso_shared.topics import ACCEPTED, RESOLVED

router = APIRouter(tags=["accounting"])

_COUNTS = """
SELECT source, stage, outcome, sum(n)::bigint AS n FROM bus.accounting
WHERE workspace_id = $1 AND ($2::timestamptz IS NULL OR hour >= date_trunc('hour', $2::timestamptz, 'UTC'))
  AND ($3::timestamptz IS NULL OR hour < $3)
GROUP BY source, stage, outcome
"""


@router.get("/v1/accounting", response_model=shapes.Page[shapes.Balance])
async def get_accounting(request: Request, grant: Reader, source: Text = None, since: From = None, to: To = None,
                         ) -> Response:
    """Per source and stage: accepted = resolved + duplicate + set_aside + erased + in_flight, refused beside it.

    Counted by the hour: `from` and `to` take whole hours. `in_flight` is what waits now, whatever the hours asked for.
    """
    bus = request.app.state.bus
    begin, end = instant("from", since), instant("to", to)
    try:
        unread = {IDENTITY: sum((await bus.unread(IDENTITY, ACCEPTED)).values()),
                  PROFILE: sum((await bus.unread(PROFILE, RESOLVED)).values())}
    except BusUnavailable as error:
        raise Unavailable(f"the bus cannot be reached: {error}") from error
    rows = await request.app.state.pool.fetch(_COUNTS, grant.workspace, begin, end)
    counts = {(row["source"], row["stage"], row["outcome"]): row["n"] for row in rows}
    return page([asdict(line) for line in balance(counts, unread) if source is None or line.source == source], None)
