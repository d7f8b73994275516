"""The demo shop: a small shop under /demo/ on the public port, to watch Percorso with. It keeps nothing; all that
anybody learns of its visitors is what their pages tell Percorso through the beacon."""

from percorso_services.ingest_api.demo.shop import routes

__all__ = ["routes"]
