"""What stands between a running database and the start of the processes."""

from dataclasses import replace

import asyncpg

from percorso_services.installation_keys import Keys, ensure_keys, ensure_signing_secret
from percorso_shared.clock import SystemClock
from percorso_shared.control import WORKSPACE
from percorso_shared.control.first_visit import create_first_visit
from percorso_shared.database import prepare_connection
from percorso_shared.migrate import migrate
from percorso_shared.settings import Settings


async def prepare(settings: Settings) -> tuple[Settings, Keys, str]:
    """Brings the database to this version, makes keys and signing secret where they are missing, and a link for the
    first visit. Returns the settings with the secret, the keys and the link's token."""
    connection = await asyncpg.connect(settings.database_url)
    try:
        await prepare_connection(connection)
        await migrate(connection)
        keys = await ensure_keys(connection, WORKSPACE, settings.data_dir)
        token = await create_first_visit(connection, WORKSPACE, SystemClock().now_ms())
    finally:
        await connection.close()
    secret = settings.secret or ensure_signing_secret(settings.data_dir)
    return replace(settings, secret=secret), keys, token
