"""What the public app and the running process share: made once per context."""

from percorso_ingest.protocols.registry import all_routes
from percorso_ingest.sources import Sources
from percorso_services.ingest_api.app import public_port
from percorso_services.ingest_api.counters import Counters
from percorso_services.ingest_api.intake import Intake
from percorso_services.ingest_api.public_routes import public_routes
from percorso_services.ingest_api.read_body import InFlight
from percorso_shared.process import ASGIApp, Context

IN_FLIGHT_BYTES = 64 * 1024 * 1024


class Parts:
    """The app is cheap to make and does no I/O."""

    def __init__(self, context: Context) -> None:
        self.sources = Sources()
        self.counters = Counters(context.metrics)
        self.in_flight = InFlight(IN_FLIGHT_BYTES)
        self.intake = Intake(context.bus, self.sources, context.clock, self.counters)
        self.app: ASGIApp = public_port(
            self.intake, self.sources, all_routes(), self.in_flight, self.counters,
            public_routes(context, self.sources))
