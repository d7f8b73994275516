"""GET /v1/quarantine: what was refused or set aside, with its reason and original bytes."""

from base64 import b64encode

from fastapi import APIRouter, Request, Response

from percorso_services.profile_api import shapes
from percorso_services.profile_api.access import Reader
from percorso_services.profile_api.journeys import sorted_page
from percorso_services.profile_api.parameters import Cursor, From, Limit, Text, To, instant, iso, read_cursor

router = APIRouter(tags=["quarantine"])

_QUARANTINE = """
SELECT id, source, at_stage, reason, detail, received_at, size, readable,
       CASE WHEN readable OR $9 THEN body END AS body
FROM ingest.quarantine_records
WHERE workspace_id = $1 AND ($2::text IS NULL OR reason = $2) AND ($3::text IS NULL OR source = $3)
  AND ($4::timestamptz IS NULL OR received_at >= $4) AND ($5::timestamptz IS NULL OR received_at < $5)
  AND (received_at, id) < (coalesce($6::timestamptz, 'infinity'), $7::uuid)
ORDER BY received_at DESC, id DESC LIMIT $8
"""


@router.get("/v1/quarantine", response_model=shapes.Page[shapes.Quarantined])
async def list_quarantine(request: Request, grant: Reader, reason: Text = None, source: Text = None, since: From = None,
                          to: To = None, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """Newest first. Bytes that cannot be parsed are shown to keys of scope admin only (`body_base64` is null)."""
    before = read_cursor("quarantine", cursor) or (None, None)
    rows = await request.app.state.pool.fetch(
        _QUARANTINE, grant.workspace, reason, source, instant("from", since), instant("to", to), *before, limit + 1,
        grant.allows("admin"))
    return sorted_page([({
        "id": row["id"].hex(), "reason": row["reason"], "detail": row["detail"], "source": row["source"] or None,
        "stage": row["at_stage"], "received_at": iso(row["received_at"]), "size": row["size"],
        "readable": row["readable"], "body_base64": None if row["body"] is None else b64encode(row["body"]).decode()},
        row["received_at"]) for row in rows], "quarantine", limit)
