"""percorso keys"""

import json
from typing import Annotated, Any

import typer

from percorso_services.commands.options import Data, settings_with, with_database


def keys(as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
         data: Data = None) -> None:
    """Show the write keys of the sources and the secret key of the query API."""
    from percorso_services.installation_keys import ensure_keys, keys_file
    from percorso_shared.control import WORKSPACE
    settings = settings_with(data)

    async def work(connection: Any) -> Any:
        return await ensure_keys(connection, WORKSPACE, settings.data_dir)

    found = with_database(settings, work)
    if as_json:
        typer.echo(json.dumps(found.as_json()))
        return
    width = max([len(source.name) for source in found.sources] + [10])
    typer.echo("Write keys (go into pages and apps)")
    for source in found.sources:
        typer.echo(f"  {source.name:<{width}}  {source.write_key}  {source.kind}")
    typer.echo("Secret key (query API, Authorization: Bearer; never into a page)")
    typer.echo(f"  {found.secret_key}" if found.secret_key else
               "  not known here: it is shown only once; `percorso key create --scope admin` makes another")
    typer.echo(f"Kept in {keys_file(settings.data_dir)}")
