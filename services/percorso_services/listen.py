"""Listening sockets, bound before anything else starts, so that a taken port is found out first."""

import errno
import socket

from percorso_shared.cannot_run import CannotRun
from percorso_shared.settings import variable_of

BACKLOG = 2048


def listen(host: str, port: int, *, which: str) -> socket.socket:
    """A listening socket; port 0 takes a free one. `which` is `public` or `private`. Raises CannotRun with the option
    to change."""
    option = f"change it with --{which}-port or {variable_of(which + '_port')}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise CannotRun(f"the {which} address {host!r} is none of this machine ({error.strerror or error}): "
                        f"change {variable_of(which + '_host')}") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(BACKLOG)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise CannotRun(f"the {which} port {port} is taken by another program: {option}") from error
        if error.errno == errno.EACCES:
            raise CannotRun(f"this user may not open the {which} port {port}: {option}") from error
        raise CannotRun(f"cannot listen on {host}:{port} ({error.strerror}): change {variable_of(which + '_host')} "
                        f"or {variable_of(which + '_port')}") from error
    return bound


def port_of(listening: socket.socket) -> int:
    """The port that was taken."""
    return int(listening.getsockname()[1])
