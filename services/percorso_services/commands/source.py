"""percorso source"""

from typing import Annotated, Any

import typer

from percorso_services.commands.options import Data, settings_with, with_database

app = typer.Typer(help="Where touchpoints come from; each source has a write key.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]


@app.command()
def create(name: Name,
           kind: Annotated[str, typer.Option(help="browser (its key is public) or server")] = "browser",
           write_key: Annotated[str | None, typer.Option(metavar="KEY", help="Keep the key used elsewhere.",
                                                         show_default=False)] = None,
           data: Data = None) -> None:
    """Make a source; prints its write key."""
    from percorso_services.sources import create_source
    from percorso_shared.control import WORKSPACE

    async def work(connection: Any) -> str:
        return await create_source(connection, WORKSPACE, name, kind, write_key)

    typer.echo(with_database(settings_with(data), work))


@app.command("list")
def list_(data: Data = None) -> None:
    """List the sources with their write keys and aliases."""
    from percorso_services.sources import Source, list_sources
    from percorso_shared.control import WORKSPACE

    async def work(connection: Any) -> list[Source]:
        return await list_sources(connection, WORKSPACE)

    for source in with_database(settings_with(data), work):
        state = "" if source.enabled else "  disabled"
        aliases = f"  {' '.join(source.aliases)}" if source.aliases else ""
        typer.echo(f"{source.name:<20}  {source.kind:<7}  {source.write_key}{state}{aliases}")


@app.command()
def alias(name: Name, protocol_id: Annotated[str, typer.Argument(metavar="PROTOCOL:ID", show_default=False)],
          data: Data = None) -> None:
    """Give a source its name in a foreign protocol, for example plausible:shop.example."""
    from percorso_services.sources import add_alias
    from percorso_shared.control import WORKSPACE

    async def work(connection: Any) -> None:
        await add_alias(connection, WORKSPACE, name, protocol_id)

    with_database(settings_with(data), work)
    typer.echo(f"{protocol_id} is an alias of {name}")
