"""What `percorso doctor` looks at: each check says what it found, and what to do if that is wrong."""

import asyncio
import json
import platform
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from percorso_shared.cannot_run import CannotRun
from percorso_shared.data_folder import folder_is_in_use, make_data_folder, read_json
from percorso_shared.reach_database import reach_database
from percorso_shared.settings import Settings
from percorso_shared.wait_for_database import place_of, why

LOW_DISK, FULL_DISK = 2 << 30, 200 << 20
"""Bytes."""
LONG_TRANSACTION = 60.0
"""Seconds. A worker's transaction lasts one at most."""
CLOCK_TOLERANCE = 1.0
"""Seconds between our clock and the database's."""


@dataclass(frozen=True)
class Finding:
    """`advice` is empty if all is well."""

    about: str
    found: str
    advice: str = ""


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """Every finding, as it is made; one that is wrong does not keep the others from being made."""
    yield versions()
    yield disk(settings)
    running = await asyncio.to_thread(running_copy, settings)
    yield running
    try:
        async with reach_database(settings) as url:
            async for finding in _database(url):
                yield finding
    except CannotRun as error:
        yield Finding("database", str(error), "start it, or correct PERCORSO_DATABASE_URL; empty is the embedded one")
    yield await bus(settings)
    yield await smtp(settings)


def versions() -> Finding:
    from percorso_services.version import VERSION
    return Finding("versions", f"percorso {VERSION}, Python {platform.python_version()}, {platform.system()} "
                               f"{platform.release()}")


def disk(settings: Settings) -> Finding:
    """Free space where the data folder is."""
    folder = settings.data_dir.absolute()
    try:
        make_data_folder(folder)
    except CannotRun as error:
        return Finding("disk", str(error), "give a folder that this user may write to with --data")
    free = shutil.disk_usage(folder).free
    found = f"{free / (1 << 30):.1f} GiB free for {folder}"
    if free < FULL_DISK:
        return Finding("disk", found, "make room: nothing can be accepted once it is full")
    return Finding("disk", found, "make room soon" if free < LOW_DISK else "")


def running_copy(settings: Settings) -> Finding:
    """Whether `percorso up` runs on the data folder, and what it says of itself."""
    if not folder_is_in_use(settings.data_dir):
        return Finding("running", "no `percorso up` on this data folder")
    address = read_json(settings.data_dir / "run.json").get("private")
    if not address:
        return Finding("running", "`percorso up` is starting or stopping")
    try:
        with urllib.request.urlopen(f"{address}/readyz", timeout=5) as answer:
            answer.read()
    except urllib.error.HTTPError as error:
        with error:
            reasons = json.loads(error.read()).get("reasons", {})
        return Finding("running", "; ".join(reasons.values()), "it goes on by itself once the reason is cured")
    except OSError as error:
        return Finding("running", f"{address} does not answer: {why(error)}", "stop `percorso up` and start it again")
    return Finding("running", f"ready at {address}")


async def _database(url: str) -> AsyncIterator[Finding]:
    import asyncpg
    connection = await asyncpg.connect(url)
    try:
        sent = time.time()
        theirs = float(await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())"))
        took = time.time() - sent
        version = connection.get_server_version()
        yield Finding("database", f"PostgreSQL {version.major}.{version.minor} at {place_of(url)}, "
                                  f"answers in {took * 1000:.1f} ms")
        yield clock(theirs - (sent + took / 2))
        row = await connection.fetchrow(
            "SELECT extract(epoch FROM clock_timestamp() - xact_start)::float8 AS age, application_name AS name, pid "
            "FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL "
            "AND pid <> pg_backend_pid() AND backend_type = 'client backend' ORDER BY xact_start LIMIT 1")
        yield oldest_transaction(*row) if row else Finding("transactions", "none is open")
    finally:
        await connection.close()


def clock(difference: float) -> Finding:
    """`difference` in seconds between the database's clock and ours."""
    found = f"the database's clock differs by {difference:+.2f} s"
    return Finding("clock", found, "" if abs(difference) <= CLOCK_TOLERANCE else
                   "set both machines' clocks by NTP: waits and quiet hours follow them")


def oldest_transaction(age: float, name: str, pid: int) -> Finding:
    """`age` in seconds."""
    found = f"the oldest is open for {age:.1f} s ({name or 'unnamed'}, process {pid})"
    return Finding("transactions", found, "" if age <= LONG_TRANSACTION else
                   f"it holds back cleaning; end it with SELECT pg_terminate_backend({pid}) unless it is wanted")


async def bus(settings: Settings) -> Finding:
    """The broker that the settings name."""
    if settings.embedded_bus:
        return Finding("bus", "embedded, in the database")
    from aiokafka.admin import AIOKafkaAdminClient
    from aiokafka.errors import KafkaError
    place = settings.kafka_bootstrap
    client: Any = AIOKafkaAdminClient(bootstrap_servers=place, request_timeout_ms=5000)
    try:
        await asyncio.wait_for(client.start(), 10)
        cluster = await client.describe_cluster()
    except (KafkaError, OSError, TimeoutError, ValueError) as error:
        return Finding("bus", f"no connection to Kafka at {place}: {why(error)}",
                       "start it, or correct PERCORSO_KAFKA_BOOTSTRAP (host:port of a listener reachable from here)")
    finally:
        await client.close()
    return Finding("bus", f"Kafka at {place}, {len(cluster['brokers'])} broker(s)")


async def smtp(settings: Settings) -> Finding:
    """Connects and logs in, sends nothing."""
    if not settings.smtp_url:
        return Finding("smtp", "none: mails go to the built-in mailbox")
    import aiosmtplib
    parts = urlsplit(settings.smtp_url)
    tls = parts.scheme == "smtps"
    host, port = parts.hostname or "localhost", parts.port or (465 if tls else 587)
    client = aiosmtplib.SMTP(hostname=host, port=port, use_tls=tls, timeout=10)
    try:
        async with client:
            if parts.username:
                await client.login(unquote(parts.username), unquote(parts.password or ""))
    except aiosmtplib.SMTPAuthenticationError as error:
        return Finding("smtp", f"{host}:{port} refuses the login ({error.code})", "correct user and password in "
                                                                                  "PERCORSO_SMTP_URL")
    except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
        return Finding("smtp", f"{host}:{port}: {why(error)}", "correct PERCORSO_SMTP_URL; mails wait until it answers")
    return Finding("smtp", f"{host}:{port} answers" + (", login accepted" if parts.username else ""))
