"""kill -9 of a real delivery process at every named point: a mail is completed at the SMTP server at most once, and not
at all only where the ledger says `unknown`; a webhook is repeated with the same key and body."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from delivery_rows import Office
from percorso_command import clean_environment
from percorso_shared.clock import SystemClock
from smtp_server import SmtpPeer
from webhook_receiver import WebhookReceiver

SCRIPT = Path(__file__).parents[1] / "delivery_process.py"
EMAIL_POINTS = ["delivery.before_claim", "delivery.claimed", "delivery.before_data", "delivery.after_data",
                "delivery.before_settle", "delivery.settled"]
BEFORE_SENDING = {"delivery.before_claim", "delivery.claimed"}
"""Nothing is `sending` yet: a kill there loses and doubts nothing."""
AMID_SENDING = {"delivery.before_data", "delivery.after_data", "delivery.before_settle"}
"""The row that was there is `sending`: nobody can know."""


class RealOffice(Office):
    """Rows for a worker on the real clock."""

    @classmethod
    async def at_present(cls, pool: "asyncpg.Pool") -> "Office":
        office = cls(pool)
        office.clock.instant = SystemClock().now_ms() - 1_000
        return await office.open()


@pytest.fixture
async def office(pool: "asyncpg.Pool") -> Office:
    return await RealOffice.at_present(pool)


@pytest.fixture
def peer() -> Iterator[SmtpPeer]:
    with SmtpPeer() as server:
        yield server


@asynccontextmanager
async def worker(url: str, folder: Path, pause_at: str = "",
                 **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Started and ready. Killed at the end if it still runs."""
    environment |= {"PERCORSO_TEST_PAUSE_AT": pause_at} if pause_at else {}
    with (folder / "worker.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(SCRIPT), url, env=clean_environment(PERCORSO_DATA_DIR=str(folder), **environment),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=log)
    try:
        assert await said(process) == {"ready": True}
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def said(process: asyncio.subprocess.Process) -> dict[str, Any]:
    assert process.stdout is not None
    return dict(json.loads(await asyncio.wait_for(process.stdout.readline(), 30)))


async def until(holds: Callable[[], Any], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not await holds():  # noqa: ASYNC110 another process makes it true
            await asyncio.sleep(0.05)


async def end_leases(office: Office) -> None:
    """As if the leases' time had passed."""
    await office.pool.execute(
        "UPDATE orchestrator.send SET lease_until = now() WHERE workspace_id = 1 AND lease_until IS NOT NULL")


async def nothing_open(office: Office) -> bool:
    return not set(await office.states()) & {"planned", "claimed", "sending"}


@pytest.mark.smtp
@pytest.mark.parametrize("point", EMAIL_POINTS)
async def test_a_mail_is_completed_at_most_once(office: Office, peer: SmtpPeer, database_url: str, tmp_path: Path,
                                                point: str) -> None:
    people = [await office.person(f"p{number}") for number in range(5)]
    sends = [await office.plan(person) for person in people]
    async with worker(database_url, tmp_path, point, PERCORSO_SMTP_URL=peer.url) as process:
        assert await said(process) == {"paused_at": point}
        process.kill()
    await end_leases(office)
    async with worker(database_url, tmp_path, PERCORSO_SMTP_URL=peer.url):
        await until(lambda: nothing_open(office))
    states = {f"<{send.hex()}@localhost>": (await office.row(send))["state"] for send in sends}
    for ident, state in states.items():
        count = peer.completed[ident]
        assert count <= 1, f"{ident} was sent {count} times"
        assert count == 1 or state == "unknown", f"{ident} was never sent and is {state}"
    unknown = [ident for ident, state in states.items() if state == "unknown"]
    if point in AMID_SENDING:
        assert unknown
    if point in BEFORE_SENDING:
        assert not unknown
        assert peer.completed.total() == 5


@pytest.mark.parametrize("point", ["delivery.claimed", "delivery.before_settle", "delivery.settled"])
async def test_the_built_in_mailbox_keeps_each_mail_exactly_once(office: Office, database_url: str, tmp_path: Path,
                                                                 point: str) -> None:
    for number in range(5):
        await office.plan(await office.person(f"p{number}"))
    async with worker(database_url, tmp_path, point) as process:
        assert await said(process) == {"paused_at": point}
        process.kill()
    await end_leases(office)
    async with worker(database_url, tmp_path):
        await until(lambda: nothing_open(office))
    assert await office.states() == ["sent"] * 5
    assert len(await office.mails()) == 5


@pytest.mark.parametrize("point", ["delivery.claimed", "delivery.before_data", "delivery.after_data",
                                   "delivery.before_settle", "delivery.settled"])
async def test_a_webhook_is_repeated_with_its_key_and_body(office: Office, database_url: str, tmp_path: Path,
                                                           point: str) -> None:
    with WebhookReceiver() as receiver:
        send = await office.plan(await office.person("ada"), channel="webhook", address=receiver.url)
        allow = {"PERCORSO_WEBHOOK_ALLOW": receiver.allow}
        async with worker(database_url, tmp_path, point, **allow) as process:
            assert await said(process) == {"paused_at": point}
            process.kill()
        await end_leases(office)
        async with worker(database_url, tmp_path, **allow):
            await until(lambda: nothing_open(office))
        assert (await office.row(send))["state"] == "sent"
        assert 1 <= len(receiver.got) <= 2
        assert len({(got.key, got.body) for got in receiver.got}) == 1
        assert receiver.got[0].key == f"key-{send.hex()}"


async def test_a_frozen_worker_that_goes_on_after_its_lease_sends_nothing(office: Office, peer: SmtpPeer,
                                                                          database_url: str, tmp_path: Path) -> None:
    import signal
    for number in range(5):
        await office.plan(await office.person(f"p{number}"))
    async with worker(database_url, tmp_path, "delivery.claimed", PERCORSO_SMTP_URL=peer.url) as frozen:
        assert await said(frozen) == {"paused_at": "delivery.claimed"}
        await end_leases(office)
        async with worker(database_url, tmp_path, PERCORSO_SMTP_URL=peer.url):
            await until(lambda: nothing_open(office))
        frozen.send_signal(signal.SIGCONT)
        frozen.terminate()
        await asyncio.wait_for(frozen.wait(), 20)
    assert await office.states() == ["sent"] * 5
    assert list(peer.completed.values()) == [1] * 5


async def test_what_was_sent_is_told_to_the_bus(office: Office, database_url: str, tmp_path: Path) -> None:
    await office.plan(await office.person("ada"))
    async with worker(database_url, tmp_path) as process:
        async def told() -> bool:
            return bool(await office.pool.fetchval(
                "SELECT bool_and(told) FROM orchestrator.send WHERE workspace_id = 1 AND state = 'sent'"))
        await until(told)
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 20) == 0
    count = await office.pool.fetchval("SELECT sum(count) FROM bus.log WHERE topic = 'touchpoints.accepted'")
    assert count == 1


async def test_a_worker_that_loses_its_database_connections_goes_on_by_itself(office: Office, database_url: str,
                                                                              tmp_path: Path) -> None:
    async with worker(database_url, tmp_path) as process:
        for number in range(3):
            cut = await office.pool.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'delivery_worker' AND datname = current_database()")
            assert cut
            await office.plan(await office.person(f"p{number}"))
            await until(lambda: nothing_open(office))
        assert process.returncode is None
    assert await office.states() == ["sent"] * 3
