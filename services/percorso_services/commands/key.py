"""percorso key"""

from typing import Annotated, Any

import typer

from percorso_services.commands.options import Data, settings_with, with_database
from percorso_shared.cannot_run import CannotRun

app = typer.Typer(help="Secret keys of the query API.", no_args_is_help=True)


@app.command()
def create(scope: Annotated[str, typer.Option(help="read or admin")],
           name: Annotated[str, typer.Option(help="What the key is for.")] = "", data: Data = None) -> None:
    """Make a key; it is shown this once."""
    from percorso_shared.control import WORKSPACE
    from percorso_shared.control.access import SCOPES, create_api_key
    known = next((item for item in SCOPES if item == scope), None)
    if known is None:
        raise CannotRun(f"--scope is read or admin, not {scope!r}")

    async def work(connection: Any) -> tuple[int, str]:
        return await create_api_key(connection, WORKSPACE, name, known)

    key_id, secret = with_database(settings_with(data), work)
    typer.echo(secret)
    typer.echo(f"key {key_id}, scope {scope}; it cannot be shown again", err=True)


@app.command("list")
def list_(data: Data = None) -> None:
    """List the keys, without their secrets."""
    from percorso_shared.control import WORKSPACE
    from percorso_shared.control.access import ApiKey, list_api_keys

    async def work(connection: Any) -> list[ApiKey]:
        return await list_api_keys(connection, WORKSPACE)

    for key in with_database(settings_with(data), work):
        state = f"revoked {key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else "valid"
        typer.echo(f"{key.key_id:>4}  {key.scope:<5}  ...{key.ends_with}  {key.created_at:%Y-%m-%d %H:%M}  {state}  "
                   f"{key.name}")


@app.command()
def revoke(key_id: Annotated[int, typer.Argument(metavar="KEY", show_default=False)], data: Data = None) -> None:
    """End a key; it stops working within seconds."""
    from percorso_shared.control import WORKSPACE
    from percorso_shared.control.access import revoke_api_key

    async def work(connection: Any) -> bool:
        return await revoke_api_key(connection, WORKSPACE, key_id)

    if not with_database(settings_with(data), work):
        raise CannotRun(f"there is no valid key {key_id} (`percorso key list`)")
    typer.echo(f"key {key_id} is revoked")
