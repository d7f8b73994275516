"""Sessions of the console: an unguessable id in a cookie, its hash in the table."""

from datetime import timedelta
from typing import Any

from percorso_shared.clock import to_datetime
from percorso_shared.control.secrets import hash_of, new_token

LIFE = timedelta(days=30)


async def open_session(connection: Any, workspace: int, now_ms: int) -> str:
    """The session id for the cookie. Sessions that ended are removed on the way."""
    session = new_token()
    now = to_datetime(now_ms)
    await connection.execute("DELETE FROM console.session WHERE workspace_id = $1 AND expires_at <= $2", workspace, now)
    await connection.execute(
        "INSERT INTO console.session (workspace_id, session_hash, created_at, expires_at) VALUES ($1, $2, $3, $4)",
        workspace, hash_of(session), now, now + LIFE)
    return session


async def session_is_valid(connection: Any, workspace: int, session: str, now_ms: int) -> bool:
    """True for 30 days after it was opened, unless it was closed."""
    found = await connection.fetchval(
        "SELECT true FROM console.session WHERE workspace_id = $1 AND session_hash = $2 AND expires_at > $3",
        workspace, hash_of(session), to_datetime(now_ms))
    return found is True


async def close_session(connection: Any, workspace: int, session: str) -> None:
    """Logging out."""
    await connection.execute(
        "DELETE FROM console.session WHERE workspace_id = $1 AND session_hash = $2", workspace, hash_of(session))
