"""The one-time link that lets the first visitor into the console."""

from datetime import timedelta
from typing import Any

from percorso_shared.clock import to_datetime
from percorso_shared.control.secrets import hash_of, new_token
from percorso_shared.control.session import open_session

LIFE = timedelta(hours=24)
PATH = "/first-visit"
"""The link is `<private address>/first-visit?token=<token>`."""


async def create_first_visit(connection: Any, workspace: int, now_ms: int) -> str:
    """A token that opens one session within 24 hours. Tokens made before it stop working."""
    token = new_token()
    async with connection.transaction():
        await connection.execute("DELETE FROM console.first_visit WHERE workspace_id = $1", workspace)
        await connection.execute(
            "INSERT INTO console.first_visit (workspace_id, token_hash, expires_at) VALUES ($1, $2, $3)",
            workspace, hash_of(token), to_datetime(now_ms) + LIFE)
    return token


async def consume_first_visit(connection: Any, workspace: int, token: str, now_ms: int) -> str | None:
    """The id of a new session (for the cookie), or None if the token is unknown, used or too old. Of two visitors at
    the same instant one gets in."""
    async with connection.transaction():
        expires_at = await connection.fetchval(
            "DELETE FROM console.first_visit WHERE workspace_id = $1 AND token_hash = $2 RETURNING expires_at",
            workspace, hash_of(token))
        if expires_at is None or expires_at <= to_datetime(now_ms):
            return None
        return await open_session(connection, workspace, now_ms)
