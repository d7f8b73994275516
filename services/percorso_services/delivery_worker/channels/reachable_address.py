"""Where a webhook may go: a public address on a usual port, or what the operator has allowed by name.

The name is resolved here and the connection goes to exactly the address that was looked at: a name that resolves
otherwise a moment later gains nothing.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

PORTS = frozenset({80, 443, 8080, 8443})
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Forbidden(Exception):
    """A webhook may not go there: {0}"""


@dataclass(frozen=True, slots=True)
class Place:
    """A webhook's address, taken apart."""

    scheme: str
    host: str
    port: int
    target: str
    """Path and query."""

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"


def place_of(url: str) -> Place:
    """Raises Forbidden for what is no http address."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Forbidden("it is not a valid address") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Forbidden("it does not begin with http:// or https:// and a host")
    if parts.username or parts.password:
        raise Forbidden("it has a user or password in it")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Place(parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80), target)


def allowed_places(setting: str) -> frozenset[tuple[str, int]]:
    """PERCORSO_WEBHOOK_ALLOW (`host:port,host:port`) as pairs. What cannot be read is left out."""
    pairs = []
    for item in setting.split(","):
        host, _, port = item.strip().rpartition(":")
        if host and port.isdigit():
            pairs.append((host.strip("[]").lower(), int(port)))
    return frozenset(pairs)


async def resolve(place: Place, allow: frozenset[tuple[str, int]]) -> list[str]:
    """The literal addresses to try, in order. Raises Forbidden, or OSError if the name does not resolve."""
    exempt = (place.host.lower(), place.port) in allow
    if not exempt and place.port not in PORTS:
        raise Forbidden(f"port {place.port} is none of {', '.join(map(str, sorted(PORTS)))}")
    found = await asyncio.get_running_loop().getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    literals = list(dict.fromkeys(str(item[4][0]) for item in found))
    return literals if exempt else public_only(literals)


def public_only(literals: Sequence[str]) -> list[str]:
    """Raises Forbidden if none of them is public."""
    public = [literal for literal in literals if is_public(ipaddress.ip_address(literal.partition("%")[0]))]
    if not public:
        raise Forbidden("it is at a private address (PERCORSO_WEBHOOK_ALLOW exempts host:port)")
    return public


def is_public(address: Address) -> bool:
    """Whether it is an address of the open internet, whatever it is wrapped in."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        if address.teredo is not None:
            return False
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast and not address.is_reserved
