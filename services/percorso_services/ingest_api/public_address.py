"""Under which address browsers reach the public port."""

from starlette.requests import Request

from percorso_shared.settings import Settings


def public_origin(settings: Settings, request: Request) -> str:
    """`PUBLIC_URL` without a slash at its end; else what the request was sent to. The scheme is the one of the
    connection, or what a trusted proxy says of it (the server applies forwarded headers, nobody else does)."""
    if settings.public_url:
        return settings.public_url.rstrip("/")
    host = request.headers.get("host", "")
    if not _is_host(host):
        host = f"{settings.public_host}:{settings.public_port}"
    return f"{request.scope['scheme']}://{host}"


def api_host(origin: str) -> str:
    """As Segment's SDKs want it: without a scheme, ending in /v1."""
    return origin.split("://", 1)[1] + "/v1"


def _is_host(host: str) -> bool:
    """A host and perhaps a port: nothing else is repeated in an answer."""
    return 0 < len(host) <= 255 and host.isascii() and all(
        character.isalnum() or character in ".-:[]_" for character in host)
