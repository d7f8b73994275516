"""The console: the pages of the private port for people who look after an installation."""

from percorso_services.console.app import console_app
from percorso_shared.process import ASGIApp, Context


async def run(context: Context) -> None:
    """Everything happens in requests."""
    await context.stop.wait()


def private_app(context: Context) -> ASGIApp:
    return console_app(context)
