"""A database for a moment: an embedded PostgreSQL in a temporary folder, gone afterwards."""

import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from percorso_shared.embedded_postgres import EmbeddedPostgres


@contextlib.asynccontextmanager
async def temporary_database() -> AsyncIterator[str]:
    """The address of an empty, migrated database on a server of its own, with fsync off; more databases may be made on
    it from this one as template (about 3 s to begin)."""
    import asyncpg

    from percorso_shared.migrate import migrate

    folder = Path(tempfile.mkdtemp(prefix="percorso-"))
    try:
        async with EmbeddedPostgres(folder, durable=False) as server:
            connection = await asyncpg.connect(server.url)
            try:
                await migrate(connection)
            finally:
                await connection.close()
            yield server.url
    finally:
        shutil.rmtree(folder, ignore_errors=True)
