"""Webhooks to a real receiver: signed, with the same key and body in every repetition, each destination by itself."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import timedelta

import asyncpg
import msgspec
import pytest
from standardwebhooks import Webhook

from delivery_rows import Office
from percorso_orchestrator.delivery_ledger import begin, expire
from percorso_orchestrator.destinations import save_destination
from percorso_services.delivery_worker.webhook_lane import WebhookLane
from webhook_receiver import WebhookReceiver


@pytest.fixture
async def office(pool: "asyncpg.Pool") -> Office:
    return await Office(pool).open()


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as server:
        yield server


async def destination(office: Office, name: str, url: str) -> str:
    async with office.pool.acquire() as connection:
        return (await save_destination(connection, 1, name, url, office.now)).secret


async def work(lane: WebhookLane) -> None:
    """One claim, to its end."""
    await lane.once()
    await lane.drain()


async def test_a_webhook_is_signed_and_carries_the_runs_values(office: Office, receiver: WebhookReceiver) -> None:
    secret = await destination(office, "crm", receiver.url)
    send = await office.plan(await office.person("ada"), channel="webhook", address="crm", payload={
        "with": {"total": 55}, "run": {"key": "k1", "entry": {"cart_id": "k1"}}, "event": None})
    lane = office.webhooks(receiver.allow)
    await work(lane)
    (got,) = receiver.got
    assert (got.path, got.key) == ("/hook", f"key-{send.hex()}")
    data = Webhook(secret).verify(got.body, got.headers)
    assert data["type"] == "journey.step"
    assert (data["data"]["with"], data["data"]["step"], data["data"]["key"]) == ({"total": 55}, "greet", "k1")
    row = await office.row(send)
    assert (row["state"], row["response"], row["attempts"]) == ("sent", "200 ok", 1)
    await lane.close()


async def test_an_address_named_directly_gets_a_secret_of_its_own(office: Office, receiver: WebhookReceiver) -> None:
    ada = await office.person("ada")
    await office.plan(ada, 1, channel="webhook", address=receiver.url)
    await office.plan(ada, 2, channel="webhook", address=receiver.url)
    lane = office.webhooks(receiver.allow)
    await work(lane)
    rows = await office.pool.fetch("SELECT url, secret FROM orchestrator.destination WHERE workspace_id = 1")
    assert [row["url"] for row in rows] == [receiver.url]
    for got in receiver.got:
        Webhook(rows[0]["secret"]).verify(got.body, got.headers)
    assert len(receiver.got) == 2
    await lane.close()


async def test_repetitions_have_the_same_key_and_body(office: Office, receiver: WebhookReceiver) -> None:
    send = await office.plan(await office.person("ada"), channel="webhook", address=receiver.url)
    statuses = iter([500, 429, 404, 200])
    receiver.answer = lambda got: (next(statuses), {})
    lane = office.webhooks(receiver.allow)
    for _ in range(6):
        await work(lane)
        office.clock.advance(60_000)
    assert len(receiver.got) == 4
    assert len({(got.key, got.body) for got in receiver.got}) == 1
    row = await office.row(send)
    assert (row["state"], row["attempts"]) == ("sent", 4)
    await lane.close()


async def test_a_crash_while_sending_repeats_with_the_same_key_and_body(office: Office,
                                                                        receiver: WebhookReceiver) -> None:
    await office.plan(await office.person("ada"), channel="webhook", address=receiver.url)
    lane = office.webhooks(receiver.allow)
    (row,) = await office.claim("webhook")
    await begin(office.pool, 1, row, office.now, office.now + timedelta(seconds=60), row.address, None)
    office.clock.advance(60_000)
    await expire(office.pool, 1, office.now)
    await work(lane)
    assert [got.key for got in receiver.got] == [row.idempotency_key]
    await lane.close()


async def test_a_pause_that_is_asked_for_is_kept(office: Office, receiver: WebhookReceiver) -> None:
    send = await office.plan(await office.person("ada"), channel="webhook", address=receiver.url)
    receiver.answer = lambda got: (503, {"retry-after": "600"})
    lane = office.webhooks(receiver.allow)
    await work(lane)
    row = await office.row(send)
    assert row["not_before"] >= office.now + timedelta(seconds=600)
    assert row["response"] == "try 1: 503 ok"
    await lane.close()


async def test_after_a_day_it_is_given_up_with_the_last_answer(office: Office, receiver: WebhookReceiver) -> None:
    send = await office.plan(await office.person("ada"), channel="webhook", address=receiver.url, due_ms=-86_400_000)
    receiver.answer = lambda got: (500, {})
    lane = office.webhooks(receiver.allow)
    await work(lane)
    row = await office.row(send)
    assert (row["state"], row["reason"]) == ("failed", "given up after 24 h: 500 ok")
    await lane.close()


@pytest.mark.parametrize(("status", "reason"), [(302, "redirect"), (410, "gone")])
async def test_redirects_are_not_followed_and_gone_is_final(office: Office, receiver: WebhookReceiver, status: int,
                                                            reason: str) -> None:
    send = await office.plan(await office.person("ada"), channel="webhook", address=receiver.url)
    receiver.answer = lambda got: (status, {"location": receiver.url + "/elsewhere"})
    lane = office.webhooks(receiver.allow)
    await work(lane)
    row = await office.row(send)
    assert row["state"] == "failed"
    assert reason in row["reason"]
    assert len(receiver.got) == 1
    await lane.close()


async def test_private_addresses_are_refused_unless_allowed(office: Office, receiver: WebhookReceiver) -> None:
    send = await office.plan(await office.person("ada"), channel="webhook",
                             address=receiver.url.replace("127.0.0.1", "localhost"))
    lane = office.webhooks(receiver.allow)
    await work(lane)
    row = await office.row(send)
    assert row["state"] == "failed"
    assert row["reason"].startswith("refused: port")
    assert receiver.got == []
    await lane.close()


async def test_an_unknown_destination_fails_with_its_name(office: Office) -> None:
    send = await office.plan(await office.person("ada"), channel="webhook", address="crm")
    lane = office.webhooks("")
    await work(lane)
    assert (await office.row(send))["reason"] == "there is no destination 'crm'"
    await lane.close()


async def test_a_silent_destination_slows_no_other(office: Office, receiver: WebhookReceiver) -> None:
    let_go = threading.Event()
    with WebhookReceiver() as silent:
        silent.answer = lambda got: (200 if let_go.wait(20) else 500, {})
        ada = await office.person("ada")
        for number in range(30):
            await office.plan(ada, number, channel="webhook", address=silent.url, due_ms=-1000)
        for number in range(30, 60):
            await office.plan(ada, number, channel="webhook", address=receiver.url)
        lane = office.webhooks(f"{silent.allow},{receiver.allow}", seconds=20)
        while len(receiver.got) < 30:
            if not await lane.once():
                await asyncio.wait_for(lane.freed.wait(), 10)
        assert len(silent.got) <= 4
        let_go.set()
        await lane.drain()
        await lane.close()


async def test_the_body_is_json_of_the_row_alone(office: Office) -> None:
    from percorso_services.delivery_worker.channels.webhook import body_of
    await office.plan(await office.person("ada"), channel="webhook", address="x")
    (row,) = await office.claim("webhook")
    assert body_of(row) == body_of(row)
    assert msgspec.json.decode(body_of(row))["timestamp"] == "2026-03-02T12:00:00Z"
