"""The keys that the first start makes: the sources `website` and `backend`, and a secret key of the query API.

The database knows a secret key only by its hash, so the key itself is kept in `<data>/keys.json`, mode 0600.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from percorso_services.sources import Source, create_source, list_sources
from percorso_shared.control.access import create_api_key, list_api_keys
from percorso_shared.control.secrets import hash_of, new_token
from percorso_shared.data_folder import make_data_folder, read_json, write_private

FIRST_SOURCES = (("website", "browser"), ("backend", "server"))


@dataclass(frozen=True)
class Keys:
    """As `percorso keys --json` prints them, the first source being the website's. `secret_key` is None if keys exist
    and none of them is known here."""

    workspace: int
    sources: list[Source]
    secret_key: str | None

    def as_json(self) -> dict[str, Any]:
        return {"workspace": self.workspace,
                "sources": [{"name": source.name, "write_key": source.write_key} for source in self.sources],
                "secret_key": self.secret_key}


def keys_file(folder: Path) -> Path:
    return folder.absolute() / "keys.json"


async def ensure_keys(connection: Any, workspace: int, folder: Path) -> Keys:
    """Makes what is missing, and writes the keys file if it says something else."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtext('percorso first keys'), $1)", workspace)
        sources = await list_sources(connection, workspace)
        if not sources:
            for name, kind in FIRST_SOURCES:
                await create_source(connection, workspace, name, kind)
            sources = await list_sources(connection, workspace)
        path = keys_file(folder)
        kept = read_json(path).get("secret_key")
        secret = kept if kept and await _is_valid(connection, workspace, kept) else None
        if secret is None and not any(key.revoked_at is None for key in await list_api_keys(connection, workspace)):
            _, secret = await create_api_key(connection, workspace, "first key", "admin")
        keys = Keys(workspace, sources, secret)
        if read_json(path) != keys.as_json():
            make_data_folder(folder)
            write_private(path, json.dumps(keys.as_json(), indent=2) + "\n")
    return keys


async def _is_valid(connection: Any, workspace: int, secret: str) -> bool:
    return await connection.fetchval(
        "SELECT true FROM console.api_key WHERE workspace_id = $1 AND secret_hash = $2 AND revoked_at IS NULL",
        workspace, hash_of(secret)) is True


def ensure_signing_secret(folder: Path) -> str:
    """The secret that signs links and webhooks of an embedded installation, made at the first start and kept."""
    path = folder / "secret"
    try:
        kept = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        kept = ""
    if not kept:
        kept = new_token()
        write_private(path, kept + "\n")
    return kept
