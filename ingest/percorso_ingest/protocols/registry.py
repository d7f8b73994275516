"""All protocols: which request is read by which."""

from collections.abc import Mapping

from percorso_ingest.protocols import pixel, segment
from percorso_ingest.protocols.port import Protocol


def all_routes() -> Mapping[tuple[str, str], Protocol]:
    """(method, path) -> protocol."""
    return {("POST", path): protocol for path, protocol in segment.routes().items()} | {
        ("GET", path): protocol for path, protocol in pixel.routes().items()}
