"""percorso migrate"""

import typer

from percorso_services.commands.options import Data, settings_with, with_database


def migrate(data: Data = None) -> None:
    """Bring the database to this version (also done at every start)."""
    async def work(connection: object) -> int:
        import asyncpg
        assert isinstance(connection, asyncpg.Connection)
        return int(await connection.fetchval("SELECT count(*) FROM bus.migration"))

    count = with_database(settings_with(data), work)
    typer.echo(f"the database is up to date ({count} scripts applied)")
