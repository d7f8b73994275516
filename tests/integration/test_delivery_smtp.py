"""Mails through a real SMTP server: sent once, tried again, refused, unknown; a server that is away loses nothing."""

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest

from delivery_rows import Office
from percorso_orchestrator.delivery_ledger import expire
from smtp_server import SmtpPeer

pytestmark = pytest.mark.smtp


@pytest.fixture
async def office(pool: "asyncpg.Pool") -> Office:
    return await Office(pool).open()


@pytest.fixture
def peer() -> Iterator[SmtpPeer]:
    with SmtpPeer() as server:
        yield server


async def test_each_mail_is_sent_once_over_few_connections(office: Office, peer: SmtpPeer) -> None:
    sends = [await office.plan(await office.person(f"p{number}", locale="en")) for number in range(20)]
    lane = office.emails(peer.url)
    await lane.once()
    await lane.once()
    await lane.close()
    assert peer.completed == {f"<{send.hex()}@example.com>": 1 for send in sends}
    assert peer.connections <= 4
    row = await office.row(sends[0])
    assert (row["state"], row["response"], row["message_id"]) == ("sent", "250 OK", f"<{sends[0].hex()}@example.com>")


async def test_the_mail_has_a_text_and_an_html_part(office: Office, peer: SmtpPeer) -> None:
    await office.plan(await office.person("ada", name="Àda"))
    lane = office.emails(peer.url)
    await lane.once()
    await lane.close()
    (message,) = peer.messages
    assert (message["From"], message["To"], message["Subject"]) == (
        "Shop <shop@example.com>", "ada@example.com", "Ciao Àda")
    text, html = message.iter_parts()
    assert (text.get_content().strip(), html.get_content().strip()) == ("Caro Àda", "<p>Caro Àda</p>")  # type: ignore[attr-defined]  # EmailMessage


async def test_a_temporary_refusal_is_tried_again_later_and_shows_its_attempts(office: Office, peer: SmtpPeer) -> None:
    send = await office.plan(await office.person("ada"))
    lane = office.emails(peer.url)
    peer.answer_data = lambda _: "451 4.7.1 greylisted"
    await lane.once()
    row = await office.row(send)
    assert (row["state"], row["attempts"], row["response"]) == ("planned", 1, "try 1: 451 4.7.1 greylisted")
    await lane.once()
    assert sum(peer.refused.values()) == 1
    peer.answer_data = lambda _: "250 OK"
    office.clock.advance(60_000)
    await lane.once()
    await lane.close()
    row = await office.row(send)
    assert (row["state"], row["attempts"]) == ("sent", 2)
    assert list(peer.completed.values()) == [1]


@pytest.mark.parametrize("step", ["rcpt", "data"])
async def test_a_final_refusal_fails_with_the_servers_words(office: Office, peer: SmtpPeer, step: str) -> None:
    send = await office.plan(await office.person("ada"))
    if step == "rcpt":
        peer.answer_rcpt = lambda _: "550 5.1.1 no such mailbox"
    else:
        peer.answer_data = lambda _: "554 5.6.0 we do not like it"
    lane = office.emails(peer.url)
    await lane.once()
    await lane.close()
    row = await office.row(send)
    assert row["state"] == "failed"
    assert row["reason"].startswith("the mail server refused it: 55")
    assert peer.completed.total() == 0


async def test_a_refused_recipient_does_not_spoil_the_connection(office: Office, peer: SmtpPeer) -> None:
    peer.answer_rcpt = lambda address: "550 no" if address.startswith("bad") else "250 OK"
    for name in ("bad1", "good1", "bad2", "good2", "good3"):
        await office.plan(await office.person(name))
    lane = office.emails(peer.url)
    await lane.once()
    await lane.close()
    assert sorted(await office.states()) == ["failed", "failed", "sent", "sent", "sent"]
    assert list(peer.completed.values()) == [1, 1, 1]


async def test_no_answer_after_data_is_unknown_and_never_sent_again(office: Office, peer: SmtpPeer) -> None:
    send = await office.plan(await office.person("ada"))
    peer.silent_after_data = True
    lane = office.emails(peer.url, answer_seconds=0.5)
    await lane.once()
    row = await office.row(send)
    assert row["state"] == "unknown"
    assert "no answer after DATA" in row["reason"]
    peer.silent_after_data = False
    office.clock.advance(10**8)
    await expire(office.pool, 1, office.now)
    await lane.once()
    await lane.close()
    assert list(peer.completed.values()) == [1]


async def test_an_hour_without_a_mail_server_loses_nothing(office: Office, peer: SmtpPeer) -> None:
    sends = [await office.plan(await office.person(f"p{number}")) for number in range(8)]
    lane = office.emails(peer.url)
    peer.down()
    for _ in range(90):
        await lane.once()
        office.clock.advance(40_000)
    assert await office.states() == ["planned"] * 8
    rows = [await office.row(send) for send in sends]
    assert any(row["attempts"] > 20 for row in rows)
    assert any("Connect call failed" in row["response"] or "refused" in row["response"].lower() for row in rows)
    peer.up()
    for _ in range(10):
        office.clock.advance(60_000)
        await lane.once()
    await lane.close()
    assert await office.states() == ["sent"] * 8
    assert list(peer.completed.values()) == [1] * 8


async def test_a_server_that_closes_idle_connections_is_connected_again(office: Office, peer: SmtpPeer) -> None:
    ada = await office.person("ada")
    await office.plan(ada, 1)
    lane = office.emails(peer.url)
    await lane.once()
    peer.down()
    peer.up()
    await office.plan(ada, 2)
    await lane.once()
    await lane.close()
    assert await office.states() == ["sent", "sent"]


async def test_two_workers_send_each_mail_once(office: Office, peer: SmtpPeer) -> None:
    for number in range(40):
        await office.plan(await office.person(f"p{number}"))
    lanes = [office.emails(peer.url) for _ in range(3)]
    for _ in range(3):
        await asyncio.gather(*(lane.once() for lane in lanes))
    await asyncio.gather(*(lane.close() for lane in lanes))
    assert await office.states() == ["sent"] * 40
    assert list(peer.completed.values()) == [1] * 40
