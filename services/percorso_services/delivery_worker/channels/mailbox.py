"""The built-in mailbox: where mails go while no mail server is set. Mail and ledger are one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from typing import Any

import msgspec

from percorso_orchestrator.build_mail import headers_of
from percorso_orchestrator.delivery_ledger import Claimed, Delivered, deliver
from percorso_orchestrator.templates import Mail

_KEEP = """
INSERT INTO orchestrator.mail (workspace_id, mail_id, "to", subject, text, html, headers, at, send_id)
SELECT $1, m.send_id, m.receiver, m.subject, m.text, m.html, m.headers::jsonb, $2, m.send_id
FROM unnest($3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
     AS m (send_id, receiver, subject, text, html, headers)
"""


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail ready to go."""

    row: Claimed
    address: str
    message_id: str
    mail: Mail
    message: EmailMessage


async def put_into_mailbox(connection: Any, workspace: int, now: datetime, letters: Sequence[Letter]) -> set[bytes]:
    """Keeps the mails of the rows that are still ours and settles them, in the caller's transaction. Answers those
    rows."""
    ours = await deliver(connection, workspace, now, "kept in the built-in mailbox", [
        Delivered(letter.row.send_id, letter.row.epoch, letter.address, letter.message_id) for letter in letters])
    kept = [letter for letter in letters if letter.row.send_id in ours]
    if kept:
        await connection.execute(
            _KEEP, workspace, now, [letter.row.send_id for letter in kept], [letter.address for letter in kept],
            [letter.mail.subject for letter in kept], [letter.mail.text for letter in kept],
            [letter.mail.html for letter in kept],
            [msgspec.json.encode(headers_of(letter.message)).decode() for letter in kept])
    return ours
