"""The ledger's states: every transition, every epoch check, every lease that ends."""

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from delivery_rows import Office
from percorso_orchestrator.delivery_ledger import NO_ANSWER, Stopped, begin, expire, give_back, settle, stop


@pytest.fixture
async def office(pool: "asyncpg.Pool") -> Office:
    return await Office(pool).open()


async def test_a_claim_takes_what_is_due_oldest_first_and_gives_it_an_epoch_and_a_lease(office: Office) -> None:
    ada, bob = await office.person("ada"), await office.person("bob")
    late = await office.plan(ada, due_ms=-1_000)
    early = await office.plan(bob, due_ms=-2_000)
    await office.plan(ada, 2, due_ms=+1_000)
    claimed = await office.claim()
    assert [row.send_id for row in claimed] == [early, late]
    row = await office.row(early)
    assert (row["state"], row["epoch"], row["lease_until"]) == ("claimed", 1, office.now + timedelta(seconds=60))


async def test_two_claims_at_once_share_the_rows(office: Office) -> None:
    ada = await office.person("ada")
    for number in range(20):
        await office.plan(ada, number)
    first, second = await asyncio.gather(office.claim(limit=10), office.claim(limit=10))
    ids = [row.send_id for row in (*first, *second)]
    assert len(ids) == len(set(ids))
    assert len(await office.claim()) == 20 - len(ids)


async def test_a_claim_takes_only_so_many_of_one_address_and_none_of_a_busy_one(office: Office) -> None:
    ada = await office.person("ada")
    for number in range(6):
        await office.plan(ada, number, channel="webhook", address="slow" if number < 4 else "fast")
    claimed = await office.claim("webhook", per_address=1)
    assert sorted(row.address for row in claimed) == ["fast", "slow"]
    assert {row.address for row in await office.claim("webhook", but_not=["slow"])} == {"fast"}


async def test_begin_commits_sending_and_counts_the_attempt(office: Office) -> None:
    send = await office.plan(await office.person("ada"))
    (row,) = await office.claim()
    assert await begin(office.pool, 1, row, office.now, office.now + timedelta(seconds=9), "ada@example.com", "<m@x>")
    found = await office.row(send)
    assert (found["state"], found["attempts"], found["address"], found["message_id"]) == (
        "sending", 1, "ada@example.com", "<m@x>")


async def test_begin_refuses_a_lease_that_has_ended(office: Office) -> None:
    await office.plan(await office.person("ada"))
    (row,) = await office.claim()
    office.clock.advance(60_000)
    assert not await begin(office.pool, 1, row, office.now, office.now + timedelta(seconds=9), "", None)


@pytest.mark.parametrize("state", ["sent", "failed", "unknown"])
async def test_settling_ends_a_row_and_leaves_it_for_the_orchestrator(office: Office, state: str) -> None:
    send = await office.plan(await office.person("ada"))
    (row,) = await office.claim()
    await begin(office.pool, 1, row, office.now, office.now + timedelta(seconds=9), "", None)
    assert await settle(office.pool, 1, row, office.now, state, reason="why", response="250 OK")  # type: ignore[arg-type]  # a state
    found = await office.row(send)
    assert (found["state"], found["reason"], found["response"], found["lease_until"], found["advanced"]) == (
        state, "why", "250 OK", None, False)
    assert (found["sent_at"] is not None) == (state == "sent")


async def test_whoever_lost_its_lease_changes_nothing(office: Office) -> None:
    send = await office.plan(await office.person("ada"))
    (old,) = await office.claim()
    office.clock.advance(61_000)
    await expire(office.pool, 1, office.now)
    (new,) = await office.claim()
    assert new.epoch > old.epoch
    later = office.now + timedelta(seconds=9)
    assert not await begin(office.pool, 1, old, office.now, later, "", None)
    assert not await settle(office.pool, 1, old, office.now, "failed")
    assert not await give_back(office.pool, 1, old, office.now, later, "", tried=True)
    stopped = Stopped(send, old.epoch, "skipped", "consent", "consent", None)
    assert await stop(office.pool, 1, office.now, [stopped]) == 0
    assert (await office.row(send))["state"] == "claimed"
    assert await begin(office.pool, 1, new, office.now, later, "", None)


async def test_what_is_given_back_is_not_claimed_before_its_time(office: Office) -> None:
    send = await office.plan(await office.person("ada"))
    (row,) = await office.claim()
    later = office.now + timedelta(seconds=30)
    assert await give_back(office.pool, 1, row, office.now, later, "try 1: 451", tried=True)
    found = await office.row(send)
    assert (found["state"], found["attempts"], found["response"]) == ("planned", 1, "try 1: 451")
    assert await office.claim() == []
    office.clock.advance(30_000)
    assert [row.attempts for row in await office.claim()] == [1]


async def test_an_expired_claim_is_planned_again(office: Office) -> None:
    send = await office.plan(await office.person("ada"))
    await office.claim()
    assert await expire(office.pool, 1, office.now) == {}
    office.clock.advance(60_000)
    assert await expire(office.pool, 1, office.now) == {"email:planned": 1}
    assert (await office.row(send))["state"] == "planned"


async def test_an_email_that_was_being_sent_becomes_unknown_and_is_never_claimed_again(office: Office) -> None:
    send = await office.plan(await office.person("ada"))
    (row,) = await office.claim()
    await begin(office.pool, 1, row, office.now, office.now + timedelta(seconds=9), "ada@example.com", "<m@x>")
    office.clock.advance(60_000)
    assert await expire(office.pool, 1, office.now) == {"email:unknown": 1}
    found = await office.row(send)
    assert (found["state"], found["reason"], found["advanced"]) == ("unknown", NO_ANSWER, False)
    office.clock.advance(10**9)
    assert await office.claim() == []


async def test_a_webhook_that_was_being_sent_is_repeated_with_its_key(office: Office) -> None:
    await office.plan(await office.person("ada"), channel="webhook", address="crm")
    (first,) = await office.claim("webhook")
    await begin(office.pool, 1, first, office.now, office.now + timedelta(seconds=9), "crm", None)
    office.clock.advance(60_000)
    assert await expire(office.pool, 1, office.now) == {"webhook:planned": 1}
    (again,) = await office.claim("webhook")
    assert (again.idempotency_key, again.payload, again.attempts) == (first.idempotency_key, first.payload, 1)
    assert again.epoch > first.epoch


async def test_a_stopped_row_says_which_gate_stopped_it_and_until_when(office: Office) -> None:
    ada = await office.person("ada")
    held, skipped = await office.plan(ada, 1), await office.plan(ada, 2)
    first, second = sorted(await office.claim(), key=lambda row: row.send_id != held)
    until = office.now + timedelta(hours=3)
    assert await stop(office.pool, 1, office.now, [
        Stopped(held, first.epoch, "held", "quiet hours", "quiet hours", until),
        Stopped(skipped, second.epoch, "skipped", "consent", "consent", None)]) == 2
    found = await office.row(held)
    assert (found["state"], found["gate"], found["not_before"], found["advanced"]) == (
        "held", "quiet hours", until, False)
    assert (await office.row(skipped))["state"] == "skipped"


async def test_the_orchestrator_is_woken_when_something_is_settled(office: Office, pool: "asyncpg.Pool") -> None:
    await office.plan(await office.person("ada"))
    (row,) = await office.claim()
    heard = asyncio.Event()
    connection = await asyncpg.connect(dsn=pool._connect_args[0])
    await connection.add_listener("percorso_settled", lambda *_: heard.set())
    await settle(office.pool, 1, row, office.now, "failed", reason="x")
    await asyncio.wait_for(heard.wait(), 5)
    await connection.close()
