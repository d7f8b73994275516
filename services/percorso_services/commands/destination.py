"""percorso destination"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from percorso_services.commands.options import Data, settings_with, with_database

if TYPE_CHECKING:
    from percorso_orchestrator.destinations import Destination

app = typer.Typer(help="Where webhooks go; each destination has a signing secret.", no_args_is_help=True)


@app.command()
def create(name: Annotated[str, typer.Argument(metavar="NAME", show_default=False)],
           url: Annotated[str, typer.Argument(metavar="URL", show_default=False)], data: Data = None) -> None:
    """Make a destination, or give it another address; prints the secret that its webhooks are signed with."""
    from percorso_orchestrator.destinations import save_destination
    from percorso_services.delivery_worker.channels.reachable_address import Forbidden, place_of
    from percorso_shared.cannot_run import CannotRun
    from percorso_shared.clock import SystemClock, to_datetime
    from percorso_shared.control import WORKSPACE

    try:
        place_of(url)
    except Forbidden as error:
        raise CannotRun(f"{url} cannot be a destination: {error}") from None

    async def work(connection: Any) -> "Destination":
        return await save_destination(connection, WORKSPACE, name, url, to_datetime(SystemClock().now_ms()))

    typer.echo(with_database(settings_with(data), work).secret)


@app.command("list")
def list_(data: Data = None) -> None:
    """List the destinations with their secrets."""
    from percorso_orchestrator.destinations import list_destinations
    from percorso_shared.control import WORKSPACE

    async def work(connection: Any) -> "list[Destination]":
        return await list_destinations(connection, WORKSPACE)

    for destination in with_database(settings_with(data), work):
        typer.echo(f"{destination.name:<20}  {destination.secret}  {destination.url}")
