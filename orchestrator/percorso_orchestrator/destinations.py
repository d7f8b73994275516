"""Where webhooks go: a name, an address and the secret that signs what is sent there."""

import base64
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any

_FIND = "SELECT name, url, secret FROM orchestrator.destination WHERE workspace_id = $1 AND name = $2"
_LIST = "SELECT name, url, secret FROM orchestrator.destination WHERE workspace_id = $1 ORDER BY name"
_KEEP = """
INSERT INTO orchestrator.destination AS d (workspace_id, name, url, secret, created_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (workspace_id, name) DO UPDATE SET url = excluded.url
RETURNING name, url, secret
"""
ADDRESS = ("http://", "https://")


@dataclass(frozen=True, slots=True)
class Destination:
    """A receiver of webhooks."""

    name: str
    url: str
    secret: str
    """`whsec_...`, as Standard Webhooks writes one."""


async def save_destination(connection: Any, workspace: int, name: str, url: str, now: datetime) -> Destination:
    """A new destination with a secret of its own, or a new address for an old one (its secret stays)."""
    row = await connection.fetchrow(_KEEP, workspace, name, url, new_secret(), now)
    return Destination(**dict(row))


async def find_destination(connection: Any, workspace: int, name: str, now: datetime) -> Destination | None:
    """By the name that a journey uses. An address that it names directly gets its row, and so its secret, at its first
    use."""
    row = await connection.fetchrow(_FIND, workspace, name)
    if row is None and name.startswith(ADDRESS):
        return await save_destination(connection, workspace, name, name, now)
    return None if row is None else Destination(**dict(row))


async def list_destinations(connection: Any, workspace: int) -> list[Destination]:
    """By name."""
    return [Destination(**dict(row)) for row in await connection.fetch(_LIST, workspace)]


def new_secret() -> str:
    """32 random bytes, as Standard Webhooks writes them."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
