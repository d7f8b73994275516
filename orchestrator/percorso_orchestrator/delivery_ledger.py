"""The ledger as delivery sees it: every statement that claims, begins, settles or gives back a send.

    planned --claim--> claimed --begin--> sending --settle--> sent | failed | unknown
       ^                  |  |               |
       |                  |  +--judge--> held | skipped
       +----give_back-----+------------------+        (and by an expired lease)

Every change names the epoch that the claim gave out: whoever lost its lease changes nothing any more. Instants are
aware datetimes here, ids 16 bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import msgspec

SETTLED_CHANNEL = "percorso_settled"
PLANNED_CHANNEL = "percorso_send"

_CLAIM = """
WITH ready AS (
    SELECT send_id, due_at, row_number() OVER (PARTITION BY address ORDER BY due_at, send_id) AS place
    FROM (SELECT send_id, due_at, address FROM orchestrator.send
          WHERE workspace_id = $1 AND channel = $2 AND state = 'planned' AND due_at <= $3
            AND (not_before IS NULL OR not_before <= $3) AND NOT address = ANY($4::text[])
          ORDER BY due_at, send_id LIMIT 2000) AS oldest),
chosen AS (
    SELECT s.send_id FROM orchestrator.send s JOIN ready r ON r.send_id = s.send_id
    WHERE s.workspace_id = $1 AND s.state = 'planned' AND r.place <= $5
    ORDER BY r.due_at, s.send_id LIMIT $6 FOR UPDATE OF s SKIP LOCKED)
UPDATE orchestrator.send s
SET state = 'claimed', epoch = s.epoch + 1, lease_until = $7, updated_at = $3
FROM chosen c WHERE s.workspace_id = $1 AND s.send_id = c.send_id
RETURNING s.send_id, s.epoch, s.journey, s.version, s.run_id, s.step, s.visit, s.person, s.atom, s.channel, s.address,
          s.template, s.policy, s.payload::text AS payload, s.due_at, s.wanted_at, s.attempts, s.idempotency_key,
          s.resend_of
"""

_JUDGED = """
UPDATE orchestrator.send s
SET state = j.state, gate = j.gate, reason = j.reason, not_before = j.not_before, lease_until = NULL, advanced = false,
    updated_at = $2
FROM unnest($3::uuid[], $4::int[], $5::text[], $6::text[], $7::text[], $8::timestamptz[])
     AS j (send_id, epoch, state, gate, reason, not_before)
WHERE s.workspace_id = $1 AND s.send_id = j.send_id AND s.epoch = j.epoch AND s.state = 'claimed'
RETURNING s.send_id
"""

_BEGIN = """
UPDATE orchestrator.send
SET state = 'sending', attempts = attempts + 1, lease_until = $5, address = $6, message_id = $7, updated_at = $4
WHERE workspace_id = $1 AND send_id = $2 AND epoch = $3 AND state = 'claimed' AND lease_until > $4
RETURNING attempts
"""

_SETTLE = """
UPDATE orchestrator.send
SET state = $4, reason = $5, response = $6, lease_until = NULL, not_before = NULL, gate = NULL, advanced = false,
    told = false, sent_at = CASE WHEN $4 = 'sent' THEN $7 ELSE sent_at END, updated_at = $7
WHERE workspace_id = $1 AND send_id = $2 AND epoch = $3 AND state IN ('claimed', 'sending')
RETURNING send_id
"""

_DELIVER = """
UPDATE orchestrator.send s
SET state = 'sent', attempts = s.attempts + 1, address = d.address, message_id = d.message_id, response = $3,
    reason = NULL, gate = NULL, lease_until = NULL, not_before = NULL, advanced = false, told = false, sent_at = $2,
    updated_at = $2
FROM unnest($4::uuid[], $5::int[], $6::text[], $7::text[]) AS d (send_id, epoch, address, message_id)
WHERE s.workspace_id = $1 AND s.send_id = d.send_id AND s.epoch = d.epoch AND s.state = 'claimed'
  AND s.lease_until > $2
RETURNING s.send_id
"""

_GIVE_BACK = """
UPDATE orchestrator.send
SET state = 'planned', attempts = attempts + $6, not_before = $4, response = $5, lease_until = NULL, updated_at = $7
WHERE workspace_id = $1 AND send_id = $2 AND epoch = $3 AND state IN ('claimed', 'sending')
RETURNING attempts
"""

_EXPIRE = """
WITH late AS (
    SELECT send_id FROM orchestrator.send
    WHERE workspace_id = $1 AND state IN ('claimed', 'sending') AND lease_until <= $2
    ORDER BY send_id FOR UPDATE SKIP LOCKED)
UPDATE orchestrator.send s
SET epoch = s.epoch + 1, lease_until = NULL, advanced = false, updated_at = $2,
    state = CASE WHEN s.state = 'sending' AND s.channel = 'email' THEN 'unknown' ELSE 'planned' END,
    reason = CASE WHEN s.state = 'sending' AND s.channel = 'email' THEN $3 ELSE s.reason END,
    response = CASE WHEN s.state = 'sending' THEN 'stopped before the answer came' ELSE s.response END
FROM late l WHERE s.workspace_id = $1 AND s.send_id = l.send_id
RETURNING s.send_id, s.state, s.channel
"""

_UNTOLD = """
SELECT s.send_id, s.journey, s.version, s.run_id, s.step, s.channel, s.address, s.template, s.state, s.reason,
       s.sent_at, s.updated_at, s.message_id, a.type AS atom_type, a.value AS atom_value
FROM orchestrator.send s
LEFT JOIN identity.atoms a ON a.workspace_id = s.workspace_id AND a.atom_id = s.atom
WHERE s.workspace_id = $1 AND NOT s.told AND s.state IN ('sent', 'failed')
ORDER BY s.updated_at, s.send_id LIMIT $2
"""

_TOLD = """
UPDATE orchestrator.send SET told = true
WHERE workspace_id = $1 AND send_id = ANY($2::uuid[]) AND state IN ('sent', 'failed')
"""

NO_ANSWER = "stopped between DATA and the server's answer: it may or may not have been sent"


@dataclass(frozen=True, slots=True)
class Claimed:
    """A row that this process may work on until its lease ends."""

    send_id: bytes
    epoch: int
    journey: str
    version: int
    run_id: bytes
    step: str
    visit: int
    person: bytes
    atom: bytes
    channel: Literal["email", "webhook", "onsite", "task"]
    address: str
    template: str | None
    policy: str
    payload: dict[str, Any]
    due_at: datetime
    wanted_at: datetime
    attempts: int
    """Before this one."""
    idempotency_key: str
    resend_of: bytes | None


@dataclass(frozen=True, slots=True)
class Stopped:
    """What a gate did with a claimed row."""

    send_id: bytes
    epoch: int
    state: Literal["held", "skipped"]
    gate: str
    reason: str | None
    not_before: datetime | None


@dataclass(frozen=True, slots=True)
class Delivered:
    """A row whose mail the built-in mailbox takes."""

    send_id: bytes
    epoch: int
    address: str
    message_id: str


async def claim(connection: Any, workspace: int, channel: str, now: datetime, lease_until: datetime, *, limit: int,
                per_address: int = 1_000_000, but_not: Sequence[str] = ()) -> list[Claimed]:
    """The oldest planned rows of a channel, at most `per_address` of one address and none of `but_not`; rows that
    another process is claiming are passed over. In the caller's transaction."""
    rows = await connection.fetch(_CLAIM, workspace, channel, now, list(but_not), per_address, limit, lease_until)
    claimed = [Claimed(**{**dict(row), "payload": msgspec.json.decode(row["payload"])}) for row in rows]
    return sorted(claimed, key=lambda row: (row.due_at, row.send_id))


async def stop(connection: Any, workspace: int, now: datetime, stopped: Sequence[Stopped]) -> int:
    """Returns rows to the orchestrator with the gate's reason. Answers how many were still ours."""
    if not stopped:
        return 0
    ordered = sorted(stopped, key=lambda row: row.send_id)
    rows = await connection.fetch(
        _JUDGED, workspace, now, [row.send_id for row in ordered], [row.epoch for row in ordered],
        [row.state for row in ordered], [row.gate for row in ordered], [row.reason for row in ordered],
        [row.not_before for row in ordered])
    await _wake(connection)
    return len(rows)


async def begin(connection: Any, workspace: int, row: Claimed, now: datetime, lease_until: datetime, address: str,
                message_id: str | None) -> bool:
    """`sending`, to be committed before the first byte that counts. False: the lease was lost; send nothing."""
    return await connection.fetchval(
        _BEGIN, workspace, row.send_id, row.epoch, now, lease_until, address, message_id) is not None


async def settle(connection: Any, workspace: int, row: Claimed, now: datetime,
                 state: Literal["sent", "failed", "unknown"], *, reason: str | None = None,
                 response: str | None = None) -> bool:
    """The end of a row. False: the lease was lost, and the row is somebody else's."""
    found = await connection.fetchval(_SETTLE, workspace, row.send_id, row.epoch, state, reason, response, now)
    await _wake(connection)
    return found is not None


async def deliver(connection: Any, workspace: int, now: datetime, response: str,
                  delivered: Sequence[Delivered]) -> set[bytes]:
    """Settles mails of the built-in mailbox. Answers the rows that were still ours: only their mails may be kept."""
    ordered = sorted(delivered, key=lambda row: row.send_id)
    rows = await connection.fetch(
        _DELIVER, workspace, now, response, [row.send_id for row in ordered], [row.epoch for row in ordered],
        [row.address for row in ordered], [row.message_id for row in ordered])
    await _wake(connection)
    return {row["send_id"] for row in rows}


async def give_back(connection: Any, workspace: int, row: Claimed, now: datetime, not_before: datetime, response: str,
                    *, tried: bool) -> bool:
    """Planned again: not sent, and the other side knows nothing of it (or may hear it twice). `tried`: counts as an
    attempt that `begin` has not counted."""
    return await connection.fetchval(
        _GIVE_BACK, workspace, row.send_id, row.epoch, not_before, response, int(tried), now) is not None


async def expire(connection: Any, workspace: int, now: datetime) -> dict[str, int]:
    """Rows whose lease has ended: claimed ones and webhooks are planned again, an e-mail that was being sent is
    `unknown` and never sent again. Answers `channel:state` -> rows."""
    rows = await connection.fetch(_EXPIRE, workspace, now, NO_ANSWER)
    if rows:
        await _wake(connection)
    counts: dict[str, int] = {}
    for row in rows:
        key = f"{row['channel']}:{row['state']}"
        counts[key] = counts.get(key, 0) + 1
    return counts


async def untold(connection: Any, workspace: int, limit: int) -> list[Any]:
    """Settled rows of which no touchpoint says so yet, oldest first, with the identifier of the run's entry."""
    found: list[Any] = await connection.fetch(_UNTOLD, workspace, limit)
    return found


async def told(connection: Any, workspace: int, send_ids: Sequence[bytes]) -> None:
    """The touchpoints are durable."""
    await connection.execute(_TOLD, workspace, sorted(send_ids))


async def _wake(connection: Any) -> None:
    await connection.execute(f"NOTIFY {SETTLED_CHANNEL}")
