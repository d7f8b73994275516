"""percorso doctor"""

from typing import Annotated

import typer

from percorso_services.commands.options import Data, settings_with


def doctor(as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
           data: Data = None) -> None:
    """Look at database, bus, SMTP, clock, disk and versions: what is wrong, and what to do."""
    import asyncio
    import json
    from dataclasses import asdict

    from percorso_services.checkup import examine
    from percorso_shared.logs import configure_logs
    settings = settings_with(data)
    configure_logs(settings.log_level, process="doctor")

    async def work() -> int:
        wrong = 0
        async for finding in examine(settings):
            wrong += bool(finding.advice)
            if as_json:
                typer.echo(json.dumps(asdict(finding)))
                continue
            typer.echo(f"{typer.style('!!' if finding.advice else 'ok', fg='red' if finding.advice else 'green')}  "
                       f"{finding.about:<13} {finding.found}")
            if finding.advice:
                typer.echo(f"    {'':<13} -> {finding.advice}")
        return wrong

    if asyncio.run(work()):
        raise typer.Exit(1)
