"""The process `profile_api`: answers questions about profiles on the private port."""

from percorso_services.profile_api.app import api_app
from percorso_shared.process import ASGIApp, Context


async def run(context: Context) -> None:
    """Everything happens in requests."""
    await context.stop.wait()


def private_app(context: Context) -> ASGIApp:
    return api_app(context)
