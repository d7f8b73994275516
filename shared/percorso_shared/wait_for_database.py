"""Waiting for a database that is not there yet, visibly."""

import asyncio
from urllib.parse import parse_qs, urlsplit

import asyncpg
import structlog

from percorso_shared.cannot_run import CannotRun

LOST = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""How a connection tells that the database is gone; the last one when it went in the middle of an answer."""
_WRONG = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)
"""Waiting does not cure a wrong user, password or database name."""


def place_of(url: str) -> str:
    """`host:port` of an address, without user and password; the socket folder of an embedded one."""
    parts = urlsplit(url)
    host = parse_qs(parts.query).get("host", [""])[0]
    return host or f"{parts.hostname or 'localhost'}:{parts.port or 5432}"


async def wait_for_database(url: str, stop: asyncio.Event, *, pause: float = 1.0) -> bool:
    """Returns True when the database takes connections, False if `stop` was set before. Every failed try is a line in
    the log. Raises CannotRun for what waiting does not cure."""
    log, attempt = structlog.get_logger(), 0
    while not stop.is_set():
        attempt += 1
        try:
            connection = await asyncpg.connect(url, timeout=5)
        except _WRONG as error:
            raise CannotRun(f"PERCORSO_DATABASE_URL: the database at {place_of(url)} refuses us: {error}") from error
        except (asyncpg.InterfaceError, ValueError) as error:
            raise CannotRun(f"PERCORSO_DATABASE_URL cannot be used: {error}") from error
        except (OSError, TimeoutError, asyncpg.PostgresError) as error:
            log.warning(f"waiting for the database at {place_of(url)} (attempt {attempt}): {why(error)}")
            await stopped_within(stop, min(pause * attempt, 5 * pause))
        else:
            try:
                version = connection.get_server_version()
                if version.major < 15:
                    raise CannotRun(f"the one at {place_of(url)} is PostgreSQL {version.major}: 15 or later is needed")
            finally:
                await connection.close()
            return True
    return False


async def stopped_within(stop: asyncio.Event, seconds: float) -> bool:
    """Sleeps, unless `stop` is set; then it returns True at once."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return False
    return True


def why(error: BaseException) -> str:
    """An error's reason in a few words, on one line."""
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, FileNotFoundError):
        return "it is not running"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return " ".join(str(error).split()) or type(error).__name__
