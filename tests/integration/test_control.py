"""Who may ask and who may look: bearer keys, the first visit, sessions."""

import asyncio
from typing import Any

import pytest

from percorso_shared.control import WORKSPACE
from percorso_shared.control.access import Access, create_api_key, list_api_keys, revoke_api_key
from percorso_shared.control.first_visit import consume_first_visit, create_first_visit
from percorso_shared.control.session import close_session, open_session, session_is_valid

NOW = 1_772_409_600_000
DAY = 86_400_000


async def test_a_key_grants_its_scope_in_its_workspace(pool: Any) -> None:
    access = Access(pool)
    read_id, read = await create_api_key(pool, WORKSPACE, "reports", "read")
    _, admin = await create_api_key(pool, WORKSPACE, "ops", "admin")
    granted, above = await access.verify(read), await access.verify(admin)
    assert granted is not None
    assert above is not None
    assert (granted.workspace, granted.key_id) == (WORKSPACE, read_id)
    assert (granted.allows("read"), granted.allows("admin")) == (True, False)
    assert (above.allows("read"), above.allows("admin")) == (True, True)


@pytest.mark.parametrize("bearer", [
    "", "sk", "sk_1_", "sk_1_wrong", "sk_x_abc", "sk_99999999999999_abc", "sk_²_abc", "pk_1_abc", "sk_2_abc\x00"])
async def test_what_is_no_key_is_refused(pool: Any, bearer: str) -> None:
    assert await Access(pool).verify(bearer) is None


async def test_a_secret_is_stored_only_as_a_hash(pool: Any) -> None:
    _, secret = await create_api_key(pool, WORKSPACE, "", "read")
    (key,) = await list_api_keys(pool, WORKSPACE)
    assert key.ends_with == secret[-4:]
    row = await pool.fetchrow("SELECT * FROM console.api_key WHERE workspace_id = $1", WORKSPACE)
    assert secret not in str(dict(row))


async def test_a_revoked_key_stops_working_once_the_answer_is_forgotten(pool: Any) -> None:
    access = Access(pool, seconds=0)
    key_id, secret = await create_api_key(pool, WORKSPACE, "", "admin")
    assert await access.verify(secret) is not None
    assert await revoke_api_key(pool, WORKSPACE, key_id)
    assert await access.verify(secret) is None
    assert not await revoke_api_key(pool, WORKSPACE, key_id)


async def test_an_answer_is_remembered_for_a_while(pool: Any) -> None:
    access = Access(pool, seconds=60)
    key_id, secret = await create_api_key(pool, WORKSPACE, "", "admin")
    before = await access.verify(secret)
    await revoke_api_key(pool, WORKSPACE, key_id)
    assert await access.verify(secret) == before


async def test_the_first_visit_opens_one_session_and_no_second(pool: Any) -> None:
    async with pool.acquire() as connection:
        token = await create_first_visit(connection, WORKSPACE, NOW)
        session = await consume_first_visit(connection, WORKSPACE, token, NOW + 1)
        assert session is not None
        assert await session_is_valid(connection, WORKSPACE, session, NOW + 2)
        assert await consume_first_visit(connection, WORKSPACE, token, NOW + 3) is None


async def test_of_two_visitors_at_the_same_instant_one_gets_in(pool: Any) -> None:
    async with pool.acquire() as connection:
        token = await create_first_visit(connection, WORKSPACE, NOW)

    async def visit() -> str | None:
        async with pool.acquire() as connection:
            return await consume_first_visit(connection, WORKSPACE, token, NOW)

    sessions = await asyncio.gather(*(visit() for _ in range(5)))
    assert len([session for session in sessions if session]) == 1


async def test_a_link_ends_after_a_day_and_with_the_next_link(pool: Any) -> None:
    async with pool.acquire() as connection:
        old = await create_first_visit(connection, WORKSPACE, NOW)
        new = await create_first_visit(connection, WORKSPACE, NOW)
        assert await consume_first_visit(connection, WORKSPACE, old, NOW) is None
        assert await consume_first_visit(connection, WORKSPACE, new, NOW + DAY) is None


async def test_a_session_ends_after_thirty_days_or_when_it_is_closed(pool: Any) -> None:
    async with pool.acquire() as connection:
        session, other = [await open_session(connection, WORKSPACE, NOW) for _ in range(2)]
        assert await session_is_valid(connection, WORKSPACE, session, NOW + 29 * DAY)
        assert not await session_is_valid(connection, WORKSPACE, session, NOW + 30 * DAY)
        assert not await session_is_valid(connection, WORKSPACE, "made up", NOW)
        await close_session(connection, WORKSPACE, session)
        assert not await session_is_valid(connection, WORKSPACE, session, NOW)
        assert await session_is_valid(connection, WORKSPACE, other, NOW)
