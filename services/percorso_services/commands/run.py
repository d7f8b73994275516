"""percorso run"""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from percorso_services.commands.options import Data, PrivatePort, PublicPort, settings_with
from percorso_shared.cannot_run import CannotRun
from percorso_shared.settings import Settings, variable_of

if TYPE_CHECKING:
    from percorso_services.host import Ready

NEEDED = ("database_url", "kafka_bootstrap", "secret")


def run(processes: Annotated[list[str], typer.Argument(metavar="PROCESS...", show_default=False)],
        public_port: PublicPort = None, private_port: PrivatePort = None, data: Data = None) -> None:
    """Run processes for cluster use; their ports are printed as one JSON line when they are ready."""
    from percorso_shared.logs import configure_logs

    settings = settings_with(data, public_port=public_port, private_port=private_port)
    missing = [variable_of(name) for name in NEEDED if not getattr(settings, name)]
    if missing:
        raise CannotRun(f"{' and '.join(missing)} must be set: `percorso run` is for a cluster on PostgreSQL and Kafka "
                        "(`percorso up` needs neither)")
    name = ",".join(processes)
    configure_logs(settings.log_level, process=name)

    import structlog
    import uvloop

    from percorso_services.host import ProcessFailed, load_processes
    modules = load_processes(processes)
    try:
        uvloop.run(_run(settings, modules))
    except ProcessFailed as failure:
        structlog.get_logger().error(str(failure))
        structlog.get_logger().debug("the trace of it", exc_info=failure)
        raise typer.Exit(1) from None


async def _run(settings: Settings, modules: dict[str, Any]) -> None:
    import asyncio
    import signal

    from percorso_services.host import has_public_app, run_host
    from percorso_services.listen import listen
    stop = asyncio.Event()
    for kind in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(kind, stop.set)
    public = listen(settings.public_host, settings.public_port, which="public") if has_public_app(modules) else None
    private = listen(settings.private_host, settings.private_port, which="private")
    await run_host(settings, modules, public=public, private=private, stop=stop, announce=_announce)


def _announce(ready: "Ready") -> None:
    import json
    typer.echo(json.dumps(asdict(ready)))
