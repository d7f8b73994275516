"""The built-in mailbox."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from percorso_shared.control import WORKSPACE

_LINK = re.compile(r"https?://[^\s<>\"')\]]+")


@dataclass(frozen=True)
class Mail:
    mail_id: str
    """32 hex digits."""
    to: str
    subject: str
    at: datetime
    send_id: str | None
    """Its row in the ledger of sends."""


@dataclass(frozen=True)
class WholeMail(Mail):
    text: str
    html: str
    headers: Mapping[str, str]

    @property
    def links(self) -> list[str]:
        """Each once, in the order of the text."""
        return list(dict.fromkeys(_LINK.findall(self.text)))


async def newest_mails(connection: Any, to: str = "", limit: int = 100) -> list[Mail]:
    """Newest first; `to` is a whole address."""
    rows = await connection.fetch(
        'SELECT mail_id, "to", subject, at, send_id FROM orchestrator.mails WHERE workspace_id = $1 '
        + ('AND "to" = $3 ' if to else "") + "ORDER BY at DESC LIMIT $2", WORKSPACE, limit, *([to] if to else []))
    return [Mail(*_envelope(row)) for row in rows]


async def one_mail(connection: Any, mail_id: bytes) -> WholeMail | None:
    row = await connection.fetchrow(
        'SELECT mail_id, "to", subject, at, send_id, text, html, headers FROM orchestrator.mails '
        "WHERE workspace_id = $1 AND mail_id = $2", WORKSPACE, mail_id)
    if row is None:
        return None
    return WholeMail(*_envelope(row), row["text"], row["html"], msgspec.json.decode(row["headers"]))


def _envelope(row: Any) -> tuple[str, str, str, datetime, str | None]:
    send_id = row["send_id"]
    return row["mail_id"].hex(), row["to"], row["subject"], row["at"], send_id.hex() if send_id else None
