"""percorso check"""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Run conformance cases through the production code.")


@app.callback()
def check() -> None:
    """Run conformance cases through the production code."""


@app.command()
def identity(file: Annotated[Path, typer.Argument(help="YAML list of cases.")],
             seed: Annotated[str | None, typer.Option(help="Repeat a run: the seed it printed.")] = None) -> None:
    """Who is who: each case 20 times shuffled, in random batches and with duplicates, on a temporary database."""
    from percorso_services.commands.check_identity import run
    from percorso_services.commands.check_identity.cases import read_cases

    cases = read_cases(file)
    passed, failed = asyncio.run(run.check(cases, seed or run.draw_seed(), typer.echo))
    typer.echo(f"{passed} passed, {failed} failed")
    raise typer.Exit(1 if failed else 0)
