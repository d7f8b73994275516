"""Migrations: plain SQL files per context, in order, forward only, applied at start under an advisory lock.

A context's package has `migrations/NNNN_*.sql` and may have `views.sql`, which is applied again whenever it changes:
the only thing that other contexts may read.
"""

from collections.abc import Sequence
from hashlib import sha256
from importlib.resources import files

from percorso_shared.bus.port import Connection
from percorso_shared.cannot_run import CannotRun

CONTEXTS: Sequence[tuple[str, str]] = (
    ("console", "percorso_shared.control"),
    ("bus", "percorso_shared.bus"),
    ("ingest", "percorso_ingest"),
    ("identity", "percorso_identity"),
    ("profile", "percorso_profile"),
    ("orchestrator", "percorso_orchestrator"),
)
"""(schema, package), in the order of their dependence."""

_LOCK = 0x5045_5243
_LEDGER = """
CREATE SCHEMA IF NOT EXISTS bus;
CREATE TABLE IF NOT EXISTS bus.migration (
    context text NOT NULL, name text NOT NULL, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (context, name))
"""


class MigrationError(CannotRun):
    """The database cannot be brought to this version."""


async def migrate(connection: Connection) -> list[str]:
    """Applies what is missing, each file in a transaction of its own. Returns the names applied."""
    applied: list[str] = []
    await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
    try:
        await connection.execute(_LEDGER)
        rows = await connection.fetch("SELECT context, name, checksum FROM bus.migration")
        known = {(row["context"], row["name"]): row["checksum"] for row in rows}
        for context, package in CONTEXTS:
            await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {context}")
            for name, sql in _scripts(package):
                checksum = sha256(sql.encode()).hexdigest()
                if known.get((context, name)) == checksum:
                    continue
                if (context, name) in known and name != "views.sql":
                    raise MigrationError(
                        f"{context}/{name} was applied with other contents; this database belongs to another version")
                async with connection.transaction():
                    await connection.execute(sql)
                    await connection.execute(
                        "INSERT INTO bus.migration (context, name, checksum) VALUES ($1, $2, $3) "
                        "ON CONFLICT (context, name) DO UPDATE SET checksum = $3, applied_at = now()",
                        context, name, checksum)
                applied.append(f"{context}/{name}")
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)
    return applied


def _scripts(package: str) -> list[tuple[str, str]]:
    root = files(package)
    folder = root / "migrations"
    scripts = sorted(
        ((item.name, item.read_text(encoding="utf-8")) for item in folder.iterdir() if item.name.endswith(".sql")),
        key=lambda script: script[0]) if folder.is_dir() else []
    views = root / "views.sql"
    if views.is_file():
        scripts.append(("views.sql", views.read_text(encoding="utf-8")))
    return scripts
