"""How a command reaches the installation's database: a server given by its address, the embedded one of a running copy
through its socket, or the embedded one started for as long as the command takes."""

import contextlib
from collections.abc import AsyncIterator

from percorso_shared.cannot_run import CannotRun
from percorso_shared.data_folder import FolderInUse, data_folder_lock
from percorso_shared.embedded_postgres import EmbeddedPostgres, running_url
from percorso_shared.settings import Settings


@contextlib.asynccontextmanager
async def reach_database(settings: Settings) -> AsyncIterator[str]:
    """The database's address; it takes connections and is migrated. Raises CannotRun."""
    if settings.database_url:
        await _bring_up_to_date(settings.database_url)
        yield settings.database_url
        return
    try:
        with data_folder_lock(settings.data_dir):
            async with EmbeddedPostgres(settings.data_dir) as server:
                await _bring_up_to_date(server.url)
                yield server.url
            return
    except FolderInUse:
        url = running_url(settings.data_dir)
        if url is None:
            raise
    yield url


async def _bring_up_to_date(url: str) -> None:
    import asyncpg

    from percorso_shared.migrate import migrate
    from percorso_shared.wait_for_database import place_of, why
    try:
        connection = await asyncpg.connect(url, timeout=10)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise CannotRun(f"no connection to the database at {place_of(url)}: {why(error)}") from error
    try:
        await migrate(connection)
    finally:
        await connection.close()
