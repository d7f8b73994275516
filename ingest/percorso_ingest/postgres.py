"""The tables of ingest: every statement of this context."""

from collections.abc import Sequence
from typing import Any

import msgspec

from percorso_ingest.limits import limits_of
from percorso_ingest.source import Source

CHANNEL = "percorso_source"
"""Notified whenever a source changes."""

_SOURCES = """
SELECT workspace_id, name, kind, write_key, enabled, limits, aliases FROM ingest.source ORDER BY workspace_id, name
"""


async def read_sources(connection: Any) -> list[Source]:
    """All sources of all workspaces: the write key of a request says which workspace is meant."""
    return [Source(
        workspace=row["workspace_id"], name=row["name"], kind=row["kind"], write_key=row["write_key"],
        enabled=row["enabled"], limits=limits_of(msgspec.json.decode(row["limits"])), aliases=tuple(row["aliases"]))
        for row in await connection.fetch(_SOURCES)]


_LOCK_SIZE = """
INSERT INTO ingest.quarantine_size AS s (workspace_id) VALUES ($1)
ON CONFLICT (workspace_id) DO UPDATE SET bytes = s.bytes RETURNING bytes
"""
_COUNTS = """
SELECT source, at_stage, reason, not_kept FROM ingest.quarantine_count WHERE workspace_id = $1
"""
_KNOWN = "SELECT id FROM ingest.quarantine WHERE workspace_id = $1 AND id = ANY ($2::uuid[])"
_KEEP = """
INSERT INTO ingest.quarantine
    (workspace_id, id, source, at_stage, reason, detail, received_at, size, readable, identifiers, body)
SELECT $1, r.id, r.source, r.at_stage, r.reason, r.detail, r.received_at, r.size, r.readable,
       ARRAY (SELECT jsonb_array_elements_text(r.identifiers)), r.body
FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::int[], $9::bool[],
            $10::jsonb[], $11::bytea[])
     AS r (id, source, at_stage, reason, detail, received_at, size, readable, identifiers, body)
ON CONFLICT (workspace_id, id) DO NOTHING
"""
_COUNT = """
INSERT INTO ingest.quarantine_count AS c (workspace_id, source, at_stage, reason, refused, not_kept)
SELECT $1, r.source, r.at_stage, r.reason, r.refused, r.not_kept
FROM unnest($2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[])
     AS r (source, at_stage, reason, refused, not_kept)
ON CONFLICT (workspace_id, source, at_stage, reason)
DO UPDATE SET refused = c.refused + excluded.refused, not_kept = c.not_kept + excluded.not_kept
"""
_GROW = "UPDATE ingest.quarantine_size SET bytes = bytes + $2 WHERE workspace_id = $1"
_EXPIRE = """
WITH old AS (
    SELECT id FROM ingest.quarantine WHERE workspace_id = $1 AND NOT readable AND received_at < $2
    ORDER BY id LIMIT $3 FOR UPDATE SKIP LOCKED),
gone AS (
    DELETE FROM ingest.quarantine q USING old WHERE q.workspace_id = $1 AND q.id = old.id RETURNING q.size),
shrunk AS (
    UPDATE ingest.quarantine_size SET bytes = greatest(bytes - (SELECT coalesce(sum(size), 0) FROM gone), 0)
    WHERE workspace_id = $1 AND EXISTS (SELECT FROM gone))
SELECT count(*) FROM gone
"""
_WORKSPACES = "SELECT workspace_id FROM ingest.quarantine_size ORDER BY workspace_id"


async def lock_quarantine(connection: Any, workspace: int) -> int:
    """Bytes of originals kept in this workspace. Whoever holds the lock is the only writer of its quarantine until the
    transaction ends."""
    return int(await connection.fetchval(_LOCK_SIZE, workspace))


async def read_not_kept(connection: Any, workspace: int) -> dict[tuple[str, str, str], int]:
    """(source, stage, reason) -> originals not kept so far."""
    return {(row["source"], row["at_stage"], row["reason"]): row["not_kept"]
            for row in await connection.fetch(_COUNTS, workspace)}


async def known_records(connection: Any, workspace: int, ids: Sequence[bytes]) -> set[bytes]:
    """Those of the ids that the quarantine holds already."""
    return {row["id"] for row in await connection.fetch(_KNOWN, workspace, ids)}


async def keep_records(connection: Any, workspace: int, columns: Sequence[Sequence[Any]]) -> None:
    """`columns` in the order of `_KEEP`, one value per record, sorted by id."""
    await connection.execute(_KEEP, workspace, *columns)


async def count_records(connection: Any, workspace: int, columns: Sequence[Sequence[Any]], kept_bytes: int) -> None:
    """`columns` in the order of `_COUNT`, sorted by its key."""
    await connection.execute(_COUNT, workspace, *columns)
    await connection.execute(_GROW, workspace, kept_bytes)


async def expire_unreadable(connection: Any, workspace: int, before: Any, limit: int) -> int:
    """Deletes up to `limit` unreadable originals received before an instant; returns how many."""
    return int(await connection.fetchval(_EXPIRE, workspace, before, limit))


async def workspaces_with_quarantine(connection: Any) -> list[int]:
    return [row["workspace_id"] for row in await connection.fetch(_WORKSPACES)]


_OF_PERSON = """
SELECT id, source, at_stage, reason, received_at, body FROM ingest.quarantine
WHERE workspace_id = $1 AND identifiers && $2::text[] ORDER BY id
"""
_ERASE_PERSON = """
WITH gone AS (
    DELETE FROM ingest.quarantine WHERE workspace_id = $1 AND identifiers && $2::text[] RETURNING size),
shrunk AS (
    UPDATE ingest.quarantine_size SET bytes = greatest(bytes - (SELECT coalesce(sum(size), 0) FROM gone), 0)
    WHERE workspace_id = $1 AND EXISTS (SELECT FROM gone))
SELECT count(*) FROM gone
"""


async def records_of_person(connection: Any, workspace: int, identifiers: Sequence[str]) -> Sequence[Any]:
    """`identifiers` as `quarantine.as_kept` writes them."""
    rows: Sequence[Any] = await connection.fetch(_OF_PERSON, workspace, identifiers)
    return rows


async def erase_records_of_person(connection: Any, workspace: int, identifiers: Sequence[str]) -> int:
    return int(await connection.fetchval(_ERASE_PERSON, workspace, identifiers))
