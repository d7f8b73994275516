"""percorso up"""

from typing import Annotated

import typer

from percorso_services.commands.options import Data, PrivatePort, PublicPort, settings_with


def up(data: Data = None, public_port: PublicPort = None, private_port: PrivatePort = None,
       fresh: Annotated[bool, typer.Option("--fresh", help="Remove what the data folder holds, then start.")] = False,
       ) -> None:
    """Run everything under one command, with an embedded PostgreSQL; Ctrl-C stops it."""
    import asyncio

    from percorso_services.all_in_one.up import up as run_everything
    from percorso_shared.logs import configure_logs

    settings = settings_with(data, public_port=public_port, private_port=private_port)
    configure_logs(settings.log_level, process="up")
    asyncio.run(run_everything(settings, fresh=fresh))
