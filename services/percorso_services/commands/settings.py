"""percorso settings"""

from dataclasses import fields
from typing import Annotated

import typer

from percorso_services.commands.options import Data, settings_with
from percorso_shared.settings import Settings, variable_of


def settings(as_json: Annotated[bool, typer.Option("--json", help="As one JSON array.")] = False,
             data: Data = None) -> None:
    """List all settings: default, value, meaning. Secrets are masked."""
    import json
    rows = rows_of(settings_with(data))
    if as_json:
        typer.echo(json.dumps([dict(zip(("name", "default", "value", "meaning"), row, strict=True)) for row in rows]))
        return
    from rich.console import Console
    from rich.table import Table
    table = Table("setting", "default", "value", "meaning", box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    console = Console()
    console.print(table) if console.is_terminal else Console(width=200).print(table)


def rows_of(values: Settings) -> list[tuple[str, str, str, str]]:
    """(variable, default, value, meaning) of each setting."""
    return [(variable_of(item.name), _shown(item.default, False),
             _shown(getattr(values, item.name), item.metadata["secret"]), item.metadata["meaning"])
            for item in fields(Settings)]


def _shown(value: object, secret: bool) -> str:
    return "(set)" if secret and value else str(value)
