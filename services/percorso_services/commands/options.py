"""Options that several commands have."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from percorso_shared.settings import Settings, read_settings

Data = Annotated[Path | None, typer.Option("--data", metavar="DIR", help="The data folder (default: ./data).",
                                           show_default=False)]
PublicPort = Annotated[int | None, typer.Option("--public-port", metavar="N", help="0 takes a free one.",
                                                show_default=False)]
PrivatePort = Annotated[int | None, typer.Option("--private-port", metavar="N", help="0 takes a free one.",
                                                 show_default=False)]

T = TypeVar("T")


def settings_with(data: Path | None, **overrides: Any) -> Settings:
    """The settings of the environment, with the options of the command line over them."""
    return read_settings(data_dir=data, **overrides)


def with_database(settings: Settings, work: Callable[[Any], Awaitable[T]]) -> T:
    """The result of `work(connection)` on the installation's database, running or not. Raises CannotRun."""
    return asyncio.run(_with_database(settings, work))


async def _with_database(settings: Settings, work: Callable[[Any], Awaitable[T]]) -> T:
    import asyncpg

    from percorso_shared.database import prepare_connection
    from percorso_shared.logs import configure_logs
    from percorso_shared.reach_database import reach_database
    configure_logs(settings.log_level, process="percorso")
    async with reach_database(settings) as url:
        connection = await asyncpg.connect(url)
        try:
            await prepare_connection(connection)
            return await work(connection)
        finally:
            await connection.close()
