"""What we did, told as touchpoints (`email_sent` ...), so that journeys and profiles see it like everything else.

The message id follows from the ledger row: telling twice has no second effect. A row is marked only once its touchpoint
is durable."""

from typing import Any

import msgspec

from percorso_orchestrator.delivery_ledger import told, untold
from percorso_shared.bus.port import Bus
from percorso_shared.clock import Clock, to_ms
from percorso_shared.ids import event_id
from percorso_shared.topics import ACCEPTED, ENCODER, SCHEMA, Accepted

SOURCE = "percorso"
_LIMIT = 500


async def tell(pool: Any, bus: Bus, workspace: int, clock: Clock) -> bool:
    """Publishes what is settled and not yet told. True: there may be more. Raises BusUnavailable."""
    async with pool.acquire() as connection:
        rows = await untold(connection, workspace, _LIMIT)
    if not rows:
        return False
    values = [ENCODER.encode(touchpoint_of(row, workspace, clock.now_ms())) for row in rows
              if row["atom_type"] is not None]
    if values:
        await bus.publish(ACCEPTED, {bus.own_partition: values})
    async with pool.acquire() as connection:
        await told(connection, workspace, [row["send_id"] for row in rows])
    return len(rows) == _LIMIT


def touchpoint_of(row: Any, workspace: int, now_ms: int) -> Accepted:
    """`email_sent`, `email_failed`, `webhook_sent`, `webhook_failed`, said of the identifier with which the run was
    entered: it leads to the person whoever that is by now."""
    ident = row["send_id"].hex()
    message_id = f"{ident}-{row['state']}"
    at = to_ms(row["sent_at"] if row["state"] == "sent" else row["updated_at"])
    properties = {"journey": row["journey"], "version": row["version"], "run": row["run_id"].hex(),
                  "step": row["step"], "send": ident, "template": row["template"], "reason": row["reason"]}
    return Accepted(
        schema=SCHEMA, workspace=workspace, source=SOURCE, trust="server",
        event_id=event_id(workspace, SOURCE, message_id).hex(), message_id=message_id, type="track",
        name=f"{row['channel']}_{row['state']}", timestamp=min(at, now_ms), received_at=now_ms,
        identifiers=[(row["atom_type"], row["atom_value"])],
        properties=msgspec.Raw(msgspec.json.encode(
            {name: value for name, value in properties.items() if value is not None})))
