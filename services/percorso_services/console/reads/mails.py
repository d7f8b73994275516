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
        'SELECT mail_id, "to", subject, at FROM orchestrator.mails WHERE workspace_id = $1 '
        + ('AND "to" = $3 ' if to else "") + "ORDER BY at DESC LIMIT $2", WORKSPACE, limit, *([to] if to else []))
    return [Mail(row["mail_id"].hex(), row["to"], row["subject"], row["at"]) for row in rows]


async def one_mail(connection: Any, mail_id: bytes) -> WholeMail | None:
    row = await connection.fetchrow(
        'SELECT mail_id, "to", subject, at, text, html, headers FROM orchestrator.mails '
        "WHERE workspace_id = $1 AND mail_id = $2", WORKSPACE, mail_id)
    if row is None:
        return None
    return WholeMail(row["mail_id"].hex(), row["to"], row["subject"], row["at"], row["text"], row["html"],
                     msgspec.json.decode(row["headers"]))
