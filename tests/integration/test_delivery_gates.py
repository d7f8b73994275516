"""Judged again in the claim: what may no longer be sent goes back with its reason."""

from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from delivery_rows import Office


@pytest.fixture
async def office(pool: "asyncpg.Pool") -> Office:
    return await Office(pool).open()


async def found(office: Office, send: bytes) -> tuple[Any, ...]:
    row = await office.row(send)
    return row["state"], row["gate"], row["reason"]


async def test_without_consent_nothing_is_sent(office: Office) -> None:
    send = await office.plan(await office.person("ada", consent=False), policy="marketing")
    await office.emails().once()
    assert await found(office, send) == ("skipped", "consent", "consent")
    assert await office.mails() == []


async def test_a_service_mail_needs_no_consent(office: Office) -> None:
    send = await office.plan(await office.person("ada", consent=False))
    await office.emails().once()
    assert (await office.row(send))["state"] == "sent"


async def test_a_run_that_has_ended_sends_nothing(office: Office) -> None:
    ada = await office.person("ada")
    send = await office.plan(ada, run=await office.run(ada, state="ended"))
    await office.emails().once()
    assert await found(office, send) == ("skipped", "run active", "run ended")


async def test_a_paused_journey_holds(office: Office) -> None:
    send = await office.plan(await office.person("ada"))
    await office.pool.execute("UPDATE orchestrator.journey SET state = 'paused' WHERE workspace_id = 1")
    await office.emails().once()
    assert (await found(office, send))[:2] == ("held", "run active")


async def test_quiet_hours_are_those_of_the_person(office: Office) -> None:
    sleeping = await office.plan(await office.person("kim", timezone="Asia/Tokyo"), policy="marketing")
    waking = await office.plan(await office.person("ada", timezone="Europe/Rome"), policy="marketing")
    await office.emails().once()
    row = await office.row(sleeping)
    assert (row["state"], row["gate"], row["not_before"]) == ("held", "quiet hours", office.now + timedelta(hours=11))
    assert (await office.row(waking))["state"] == "sent"


async def test_an_open_ticket_of_a_colleague_holds_marketing_but_not_service(office: Office) -> None:
    ada = await office.person("ada", account="acme")
    bob = await office.person("bob", account="acme")
    await office.pool.execute(
        "INSERT INTO orchestrator.hold (workspace_id, name, key, person, atom, account, covers_account, opened_at, "
        "expires_at) VALUES (1, 'ticket_open', 'T1', $1, $1, 'acme', true, $2, $3)", bob, office.now,
        office.now + timedelta(days=14))
    offer, receipt = await office.plan(ada, 1, policy="marketing"), await office.plan(ada, 2)
    await office.emails().once()
    assert await found(office, offer) == ("held", "hold", "hold")
    assert (await office.row(receipt))["state"] == "sent"


async def test_what_waited_too_long_is_stale(office: Office) -> None:
    send = await office.plan(await office.person("ada"), policy="marketing")
    office.clock.advance(10 * 86_400_000 + 1)
    await office.emails().once()
    assert await found(office, send) == ("skipped", "stale", "stale")


async def test_somebody_without_an_address_is_unreachable(office: Office) -> None:
    ada = await office.person("ada")
    await office.pool.execute("UPDATE identity.pointer SET state = 4 WHERE workspace_id = 1 AND type = 'email'")
    send = await office.plan(ada)
    await office.emails().once()
    assert await found(office, send) == ("skipped", "channel reachable", "unreachable")


async def test_an_unknown_policy_holds_and_says_so(office: Office) -> None:
    send = await office.plan(await office.person("ada"), policy="gone")
    await office.emails().once()
    assert (await office.row(send))["reason"] == "there is no such policy"
    assert (await office.row(send))["state"] == "held"


async def test_a_whole_batch_is_judged_at_once(office: Office) -> None:
    for number in range(30):
        await office.plan(await office.person(f"p{number}"), policy="marketing")
    await office.emails().once()
    assert await office.states() == ["sent"] * 30
