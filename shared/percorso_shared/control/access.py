"""Who may use the query API: bearer keys with a scope."""

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple, cast

import asyncpg

from percorso_shared.control.secrets import hash_of, new_secret_key

Scope = Literal["read", "admin"]
SCOPES: tuple[Scope, ...] = ("read", "admin")


class Grant(NamedTuple):
    """What a valid key allows. `admin` includes `read`."""

    workspace: int
    key_id: int
    scope: Scope

    def allows(self, scope: Scope) -> bool:
        return self.scope in ("admin", scope)


@dataclass(frozen=True)
class ApiKey:
    """A key as it may be listed: never the secret, only its last four characters."""

    key_id: int
    name: str
    scope: Scope
    ends_with: str
    created_at: datetime
    revoked_at: datetime | None


class Access:
    """Verifies bearer keys; remembers each answer for `seconds`, so that a revoked key works that much longer at most.
    At most 1,000 answers are kept."""

    def __init__(self, pool: "asyncpg.Pool", *, seconds: float = 5.0) -> None:
        self._pool = pool
        self._seconds = seconds
        self._known: dict[bytes, tuple[float, Grant | None]] = {}

    async def verify(self, bearer: str) -> Grant | None:
        """`bearer` is what stands behind `Bearer ` in the header. None: unknown or revoked."""
        parts = bearer.split("_", 2)
        if len(parts) != 3 or parts[0] != "sk" or not parts[1].isdecimal() or len(parts[1]) > 9:
            return None
        workspace, digest, now = int(parts[1]), hash_of(bearer), time.monotonic()
        remembered = self._known.get(digest)
        if remembered is not None and remembered[0] > now:
            return remembered[1]
        row = await self._pool.fetchrow(
            "SELECT key_id, scope FROM console.api_key "
            "WHERE workspace_id = $1 AND secret_hash = $2 AND revoked_at IS NULL", workspace, digest)
        grant = Grant(workspace, row["key_id"], row["scope"]) if row else None
        if len(self._known) >= 1000:
            self._known.clear()
        self._known[digest] = (now + self._seconds, grant)
        return grant


async def create_api_key(connection: Any, workspace: int, name: str, scope: Scope) -> tuple[int, str]:
    """(key id, secret). The secret is shown this once and stored as a hash."""
    secret = new_secret_key(workspace)
    key_id = await connection.fetchval(
        "INSERT INTO console.api_key (workspace_id, name, scope, secret_hash, ends_with) VALUES ($1, $2, $3, $4, $5) "
        "RETURNING key_id", workspace, name, scope, hash_of(secret), secret[-4:])
    return cast(int, key_id), secret


async def list_api_keys(connection: Any, workspace: int) -> list[ApiKey]:
    """Revoked ones included, oldest first."""
    rows = await connection.fetch(
        "SELECT key_id, name, scope, ends_with, created_at, revoked_at FROM console.api_key "
        "WHERE workspace_id = $1 ORDER BY key_id", workspace)
    return [ApiKey(**dict(row)) for row in rows]


async def revoke_api_key(connection: Any, workspace: int, key_id: int) -> bool:
    """False: there is no such key, or it is revoked already."""
    row = await connection.fetchval(
        "UPDATE console.api_key SET revoked_at = now() "
        "WHERE workspace_id = $1 AND key_id = $2 AND revoked_at IS NULL RETURNING key_id", workspace, key_id)
    return row is not None
