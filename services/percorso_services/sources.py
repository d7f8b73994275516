"""The sources of a workspace as commands see them. The table is ingest's."""

import re
from dataclasses import dataclass
from typing import Any, Literal, cast

import asyncpg

from percorso_shared.cannot_run import CannotRun
from percorso_shared.control.secrets import new_write_key

Kind = Literal["browser", "server"]
KINDS: tuple[Kind, ...] = ("browser", "server")

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
_WRITE_KEY = re.compile(r"[!-9;-~]{1,128}")
"""Printable, without the colon that ends a key in Basic authorisation."""
_ALIAS = re.compile(r"[a-z][a-z0-9_]*:\S{1,200}")


@dataclass(frozen=True)
class Source:
    name: str
    kind: Kind
    write_key: str
    enabled: bool
    aliases: tuple[str, ...]


async def list_sources(connection: Any, workspace: int) -> list[Source]:
    """Browser sources first, each kind in the order of its making."""
    rows = await connection.fetch(
        "SELECT name, kind, write_key, enabled, aliases FROM ingest.source WHERE workspace_id = $1 "
        "ORDER BY kind, created_at, name", workspace)
    return [Source(row["name"], row["kind"], row["write_key"], row["enabled"], tuple(row["aliases"])) for row in rows]


async def create_source(connection: Any, workspace: int, name: str, kind: str, write_key: str | None = None) -> str:
    """The write key: the given one, or a new one. Raises CannotRun."""
    if not _NAME.fullmatch(name):
        raise CannotRun(f"{name!r} cannot be a source's name: lower-case letters, digits, _ . -, at most 63")
    if kind not in KINDS:
        raise CannotRun(f"the kind of a source is browser or server, not {kind!r}")
    if write_key is not None and not _WRITE_KEY.fullmatch(write_key):
        raise CannotRun("a write key has 1 to 128 printable characters, none of them a space or a colon")
    key = write_key or new_write_key()
    try:
        await connection.execute(
            "INSERT INTO ingest.source (workspace_id, name, kind, write_key) VALUES ($1, $2, $3, $4)",
            workspace, name, kind, key)
    except asyncpg.UniqueViolationError as error:
        taken = "that write key" if "write_key" in (error.constraint_name or "") else f"the name {name!r}"
        raise CannotRun(f"another source has {taken}") from error
    return key


async def add_alias(connection: Any, workspace: int, name: str, alias: str) -> None:
    """Lets a foreign protocol name the source: `plausible:shop.example`. Raises CannotRun."""
    if not _ALIAS.fullmatch(alias):
        raise CannotRun(f"{alias!r} is not PROTOCOL:ID (for example plausible:shop.example)")
    holder = await connection.fetchval(
        "SELECT name FROM ingest.source WHERE workspace_id = $1 AND $2 = ANY (aliases) AND name <> $3",
        workspace, alias, name)
    if holder is not None:
        raise CannotRun(f"{alias} is an alias of the source {holder!r} already")
    changed = cast("str | None", await connection.fetchval(
        "UPDATE ingest.source SET aliases = CASE WHEN $3 = ANY (aliases) THEN aliases ELSE aliases || $3::text END "
        "WHERE workspace_id = $1 AND name = $2 RETURNING name", workspace, name, alias))
    if changed is None:
        raise CannotRun(f"there is no source {name!r} (`percorso source list`)")
