"""Thomas registers and does not confirm: his two mails arrive at a real SMTP server, once each, whatever is killed."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import psutil
import pytest

from percorso_command import PercorsoUp
from percorso_shared.embedded_postgres import running_url
from smtp_server import SmtpPeer

SHIPPED = Path(__file__).parents[2] / "orchestrator/percorso_orchestrator/shipped"
PEOPLE = 12
pytestmark = [pytest.mark.smtp, pytest.mark.timeout(300)]


@pytest.fixture
def peer() -> Iterator[SmtpPeer]:
    with SmtpPeer() as server:
        yield server


@pytest.fixture
def journeys(tmp_path: Path) -> Path:
    """The shipped journey, with waits of two seconds."""
    folder = tmp_path / "journeys"
    shutil.copytree(SHIPPED, folder)
    for path in folder.glob("demo-*.yaml"):
        text = path.read_text().replace("for: 20s", "for: 2s").replace("for: 40s", "for: 2s").partition("tests:")[0]
        path.write_text(text)
    return folder


async def register(up: PercorsoUp, number: int, *, confirm: bool = False) -> None:
    """The tracking calls of the demo shop's form."""
    person, registration = f"thomas{number}", f"r{number}"
    calls: list[tuple[str, dict[str, Any]]] = [
        ("identify", {"traits": {"email": f"{person}@example.com", "name": "Thomas", "locale": "en"}}),
        ("track", {"event": "consent_given", "properties": {"purpose": "marketing"}}),
        ("track", {"event": "form_submitted",
                   "properties": {"form": "registration", "registration_id": registration}})]
    if confirm:
        calls.append(("track", {"event": "registration_confirmed", "properties": {"registration_id": registration}}))
    async with httpx.AsyncClient(base_url=up.public, auth=(up.keys["sources"][0]["write_key"], "")) as client:
        for path, body in calls:
            answer = await client.post(f"/v1/{path}", json={"userId": person} | body)
            assert answer.status_code == 200


def _workers(up: PercorsoUp) -> psutil.Process:
    (found,) = [child for child in psutil.Process(up.process.pid).children() if "workers" in child.cmdline()]
    return found


async def sends(database: "asyncpg.Connection") -> list[Any]:
    return list(await database.fetch("SELECT * FROM orchestrator.sends WHERE workspace_id = 1"))


async def test_the_mails_arrive_once_and_a_confirmation_stops_them(tmp_path: Path, peer: SmtpPeer,
                                                                   journeys: Path) -> None:
    settings = {"PERCORSO_SMTP_URL": peer.url, "PERCORSO_JOURNEYS_DIR": str(journeys)}
    async with PercorsoUp(tmp_path / "data", environment=settings) as up:
        await register(up, 1)
        await register(up, 2, confirm=True)
        async with asyncio.timeout(60):
            while len(peer.messages) < 2:  # noqa: ASYNC110 the peer works in a thread of its own
                await asyncio.sleep(0.1)
        await asyncio.sleep(3)
        assert [(message["To"], message["Subject"]) for message in peer.messages] == [
            ("thomas1@example.com", "Only your confirmation is missing"),
            ("thomas1@example.com", "What awaits you at Bottega Aurora")]
        assert list(peer.completed.values()) == [1, 1]


async def test_kill_9_of_the_workers_neither_loses_nor_repeats_a_mail(tmp_path: Path, peer: SmtpPeer,
                                                                      journeys: Path) -> None:
    settings = {"PERCORSO_SMTP_URL": peer.url, "PERCORSO_JOURNEYS_DIR": str(journeys)}
    async with PercorsoUp(tmp_path / "data", environment=settings) as up:
        url = running_url(tmp_path / "data")
        assert url is not None
        database = await asyncpg.connect(url)
        for number in range(PEOPLE):
            await register(up, number)
            if number % 4 == 3:
                seen = peer.completed.total()
                async with asyncio.timeout(60):
                    while peer.completed.total() == seen:  # noqa: ASYNC110 the peer works in a thread of its own
                        await asyncio.sleep(0.01)
                _workers(up).kill()
                await up.until_ready(False)
                await up.until_ready(True, 60)
                await database.execute("UPDATE orchestrator.send SET lease_until = now() "
                                       "WHERE workspace_id = 1 AND lease_until IS NOT NULL")
        async with asyncio.timeout(120):
            while True:
                rows = await sends(database)
                if len(rows) == 2 * PEOPLE and {row["state"] for row in rows} <= {"sent", "unknown"}:
                    break
                await asyncio.sleep(0.2)
        await database.close()
    for row in rows:
        count = peer.completed[row["message_id"]]
        assert count <= 1
        assert count == 1 or row["state"] == "unknown"
    assert peer.completed.total() >= 2 * PEOPLE - sum(row["state"] == "unknown" for row in rows)
