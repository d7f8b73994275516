"""What journeys did and sent, through the orchestrator's views."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from pydantic import AfterValidator

from percorso_services.profile_api import shapes
from percorso_services.profile_api.access import Reader
from percorso_services.profile_api.address import find_profile
from percorso_services.profile_api.answer import answer, page, raw
from percorso_services.profile_api.parameters import (
    Cursor,
    Limit,
    Text,
    iso,
    iso_ms,
    make_cursor,
    read_cursor,
    storable,
)
from percorso_services.profile_api.problems import NotFound

if TYPE_CHECKING:
    from percorso_orchestrator.why import Line

router = APIRouter(tags=["journeys"])

Address = Annotated[str, Query(max_length=500, description="as in /v1/profiles/{address}"), AfterValidator(storable)]
Before = tuple[datetime, bytes] | None

_SEND = """s.send_id, s.journey, s.version, s.run_id, s.step, s.visit, s.channel, s.address, s.template, s.state,
s.gate, s.reason, s.due_at, s.not_before, s.attempts, s.idempotency_key, s.message_id, s.response, s.resend_of,
s.created_at, s.updated_at, s.sent_at, p.profile_id"""

_SENDS = f"""
SELECT {_SEND}
FROM orchestrator.sends s
LEFT JOIN identity.pointers p ON p.workspace_id = $1 AND p.atom_id = s.atom
WHERE s.workspace_id = $1 AND ($2::text IS NULL OR s.state = $2) AND ($3::text IS NULL OR s.journey = $3)
  AND ($4::text IS NULL OR s.channel = $4) AND ($5::text IS NULL OR s.address = $5)
  AND (s.created_at, s.send_id) < (coalesce($6::timestamptz, 'infinity'), $7::uuid)
ORDER BY s.created_at DESC, s.send_id DESC LIMIT $8
"""

_SENDS_OF_PERSON = f"""
SELECT {_SEND}
FROM orchestrator.sends s
JOIN identity.pointers p ON p.workspace_id = $1 AND p.atom_id = s.atom AND p.profile_id = $2
WHERE s.workspace_id = $1
  AND s.person = ANY(ARRAY(SELECT atom_id FROM identity.pointers WHERE workspace_id = $1 AND profile_id = $2))
  AND (s.created_at, s.send_id) < (coalesce($3::timestamptz, 'infinity'), $4::uuid)
ORDER BY s.created_at DESC, s.send_id DESC LIMIT $5
"""

_RUN = """r.run_id, r.journey, r.version, r.key, r.state, r.ended_reason, r.ended_as, r.entered_at, r.ended_at,
r.entry_event, r.step, r.due_at, r.goal_at, r.goal_value, p.profile_id"""

_RUNS_OF_PERSON = f"""
SELECT {_RUN}
FROM orchestrator.runs r
JOIN identity.pointers p ON p.workspace_id = $1 AND p.atom_id = r.atom AND p.profile_id = $2
WHERE r.workspace_id = $1
  AND r.atom = ANY(ARRAY(SELECT atom_id FROM identity.pointers WHERE workspace_id = $1 AND profile_id = $2))
  AND (r.entered_at, r.run_id) < (coalesce($3::timestamptz, 'infinity'), $4::uuid)
ORDER BY r.entered_at DESC, r.run_id DESC LIMIT $5
"""

_RUNS_OF_JOURNEY = f"""
SELECT {_RUN}
FROM orchestrator.runs r
LEFT JOIN identity.pointers p ON p.workspace_id = $1 AND p.atom_id = r.atom
WHERE r.workspace_id = $1 AND r.journey = $2 AND ($3::text IS NULL OR r.state = $3)
  AND (r.entered_at, r.run_id) < (coalesce($4::timestamptz, 'infinity'), $5::uuid)
ORDER BY r.entered_at DESC, r.run_id DESC LIMIT $6
"""

_JOURNEYS = """
SELECT name, version, state, published_at, paused_at
FROM orchestrator.journeys WHERE workspace_id = $1 AND state <> 'replaced' ORDER BY name
"""

_TALLIES = """
SELECT journey, version, name, n FROM orchestrator.tallies
WHERE workspace_id = $1 AND ($2::text IS NULL OR journey = $2) ORDER BY journey, version, name
"""

_MAILS = """
SELECT mail_id, "to", subject, text, html, headers, at, send_id FROM orchestrator.mails
WHERE workspace_id = $1 AND ($2::text IS NULL OR "to" = $2)
  AND (at, mail_id) < (coalesce($3::timestamptz, 'infinity'), $4::uuid)
ORDER BY at DESC, mail_id DESC LIMIT $5
"""


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()


def _send(row: Any) -> dict[str, Any]:
    return {"id": row["send_id"].hex(), "profile": _hex(row["profile_id"]), "journey": row["journey"],
            "version": row["version"], "run": row["run_id"].hex(), "step": row["step"], "visit": row["visit"],
            "channel": row["channel"], "address": row["address"], "template": row["template"], "state": row["state"],
            "gate": row["gate"], "reason": row["reason"], "due_at": iso(row["due_at"]),
            "not_before": iso(row["not_before"]), "attempts": row["attempts"],
            "idempotency_key": row["idempotency_key"], "message_id": row["message_id"], "response": row["response"],
            "resend_of": _hex(row["resend_of"]), "created_at": iso(row["created_at"]),
            "updated_at": iso(row["updated_at"]), "sent_at": iso(row["sent_at"])}


def _run(row: Any) -> dict[str, Any]:
    return {"id": row["run_id"].hex(), "profile": _hex(row["profile_id"]), "journey": row["journey"],
            "version": row["version"], "key": row["key"], "state": row["state"], "ended_reason": row["ended_reason"],
            "ended_as": row["ended_as"], "entered_at": iso(row["entered_at"]), "ended_at": iso(row["ended_at"]),
            "entry_event": _hex(row["entry_event"]), "step": row["step"], "due_at": iso(row["due_at"]),
            "goal_at": iso(row["goal_at"]), "goal_value": row["goal_value"]}


async def sends_of_person(connection: Any, workspace: int, profile: bytes, before: Before, limit: int,
                          ) -> list[tuple[dict[str, Any], datetime]]:
    """(send, what it is sorted by), newest first: sends whose run's entry touchpoint is this person's."""
    rows = await connection.fetch(_SENDS_OF_PERSON, workspace, profile, *(before or (None, None)), limit)
    return [(_send(row), row["created_at"]) for row in rows]


async def runs_of_person(connection: Any, workspace: int, profile: bytes, before: Before, limit: int,
                         ) -> list[tuple[dict[str, Any], datetime]]:
    rows = await connection.fetch(_RUNS_OF_PERSON, workspace, profile, *(before or (None, None)), limit)
    return [(_run(row), row["entered_at"]) for row in rows]


def sorted_page(found: list[tuple[dict[str, Any], datetime]], kind: str, limit: int) -> Response:
    """`found` holds one more than `limit` if there is a next page."""
    shown = found[:limit]
    return page([item for item, _ in shown],
                make_cursor(kind, shown[-1][1], shown[-1][0]["id"]) if len(found) > limit else None)


@router.get("/v1/sends", response_model=shapes.Page[shapes.Send])
async def list_sends(request: Request, grant: Reader, state: Text = None, journey: Text = None, channel: Text = None,
                     address: Text = None, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """The ledger of everything sent outwards, newest first."""
    before = read_cursor("sends", cursor) or (None, None)
    rows = await request.app.state.pool.fetch(
        _SENDS, grant.workspace, state, journey, channel, address, *before, limit + 1)
    return sorted_page([(_send(row), row["created_at"]) for row in rows], "sends", limit)


@router.get("/v1/mailbox", response_model=shapes.Page[shapes.Mail])
async def list_mails(request: Request, grant: Reader, to: Text = None, limit: Limit = 100, cursor: Cursor = None,
                     ) -> Response:
    """The built-in mailbox, newest first; `to` is a whole address."""
    before = read_cursor("mailbox", cursor) or (None, None)
    rows = await request.app.state.pool.fetch(_MAILS, grant.workspace, to, *before, limit + 1)
    return sorted_page([({
        "id": row["mail_id"].hex(), "to": row["to"], "subject": row["subject"], "text": row["text"],
        "html": row["html"], "headers": raw(row["headers"]), "at": iso(row["at"]), "send": _hex(row["send_id"])},
        row["at"]) for row in rows], "mailbox", limit)


@router.get("/v1/journeys", response_model=shapes.Page[shapes.Journey])
async def list_journeys(request: Request, grant: Reader) -> Response:
    """The published journeys, with what was counted for the present version."""
    async with request.app.state.pool.acquire() as connection:
        rows = await connection.fetch(_JOURNEYS, grant.workspace)
        tallies = await connection.fetch(_TALLIES, grant.workspace, None)
    numbers: dict[tuple[str, int], dict[str, int]] = {}
    for tally in tallies:
        numbers.setdefault((tally["journey"], tally["version"]), {})[tally["name"]] = tally["n"]
    return page([{"name": row["name"], "version": row["version"], "state": row["state"],
                  "published_at": iso(row["published_at"]), "paused_at": iso(row["paused_at"]),
                  "numbers": numbers.get((row["name"], row["version"]), {})} for row in rows], None)


@router.get("/v1/journeys/{name}/runs", response_model=shapes.Page[shapes.Run])
async def list_runs(request: Request, grant: Reader, name: str, state: Text = None, limit: Limit = 100,
                    cursor: Cursor = None) -> Response:
    """Newest entry first."""
    before = read_cursor("runs", cursor) or (None, None)
    rows = await request.app.state.pool.fetch(_RUNS_OF_JOURNEY, grant.workspace, name, state, *before, limit + 1)
    return sorted_page([(_run(row), row["entered_at"]) for row in rows], "runs", limit)


@router.get("/v1/journeys/{name}/why", response_model=shapes.Why)
async def journey_why(request: Request, grant: Reader, name: str, profile: Address) -> Response:
    """Why the journey did, or did not do, something for one person: runs with their trace, refusals, and what is to be
    said of the newest touchpoints that could have been entries."""
    # The conditions' compiler costs the start-up of the process a fifth of a second.
    from percorso_orchestrator.why import why_answer

    async with request.app.state.pool.acquire() as connection:
        person = await find_profile(connection, grant.workspace, quote(profile, safe=":"))
        why = await why_answer(connection, grant.workspace, person, name, request.app.state.clock.now_ms())
    if why is None:
        raise NotFound("there is no journey of this name")
    return answer({
        "journey": why.journey, "version": why.version, "state": why.state, "profile": why.profile, "zone": why.zone,
        "summary": why.summary, "not_entered": [_line(line) for line in why.not_entered],
        "considered": [{"event": one.event_id, "name": one.name, "at": iso_ms(one.at), "says": one.says}
                       for one in why.considered],
        "runs": [{"id": run.run_id, "version": run.version, "key": run.key, "state": run.state,
                  "ended_reason": run.ended_reason, "ended_as": run.ended_as, "entered_at": iso_ms(run.entered_at),
                  "ended_at": iso_ms(run.ended_at), "step": run.step, "due_at": iso_ms(run.due_at),
                  "goal_at": iso_ms(run.goal_at), "trace": [_line(line) for line in run.trace]} for run in why.runs]})


def _line(line: "Line") -> dict[str, Any]:
    return {"at": iso_ms(line.at), "kind": line.kind, "step": line.step, "reason": line.reason, "detail": line.detail,
            "event": line.event_id}


@router.get("/v1/journeys/{name}/numbers", response_model=shapes.Page[shapes.Numbers])
async def journey_numbers(request: Request, grant: Reader, name: str) -> Response:
    """What was counted, per version: entered, ended by reason, and what could not enter."""
    rows = await request.app.state.pool.fetch(_TALLIES, grant.workspace, name)
    versions: dict[int, dict[str, int]] = {}
    for row in rows:
        versions.setdefault(row["version"], {})[row["name"]] = row["n"]
    return page([{"version": version, "numbers": numbers} for version, numbers in versions.items()], None)
