"""Several workers on one database: whatever their interleaving, they agree, and none locks another out."""

import asyncio
import random
from contextlib import suppress

import asyncpg

from identity_world import NOW, expected, from_scratch, handle, set_policy, stored, touch
from percorso_identity.policy import Policy, TypeRule
from percorso_services.identity_worker.worker import IdentityWorker
from percorso_shared.bus.port import Batch, Record
from percorso_shared.topics import ACCEPTED
from recording_tx import RecordingTx

POLICY = Policy(types={"email": TypeRule(2, 3)}, hub=3, size=12)


def population(chance: random.Random, count: int) -> list[bytes]:
    """Touchpoints of 60 people who share devices and addresses."""
    said = []
    for number in range(count):
        one = chance.randrange(60)
        names = [f"user_id:u{one}", f"email:e{one // 2}@x.com", f"anonymous_id:c{chance.randrange(80)}"]
        said.append(touch(f"m{number}", *chance.sample(names, chance.randint(1, 3)), at=NOW - chance.randrange(50),
                          trust=chance.choice(("server", "browser"))))
    return said


async def test_workers_on_the_same_people_converge_without_a_deadlock(pool):
    chance = random.Random(11)
    said = population(chance, 600)
    async with pool.acquire() as connection:
        await set_policy(connection, POLICY)

    async def work(values: list[bytes]) -> None:
        worker = IdentityWorker()
        async with pool.acquire() as connection:
            while values:
                with suppress(asyncpg.SerializationError):  # the runner begins such a unit of work anew
                    await handle(connection, worker, *values[:40])
                    values = values[40:]

    await asyncio.gather(*(work(chance.sample(said, len(said))) for _ in range(4)))
    async with pool.acquire() as connection:
        found, scratch = await stored(connection), expected(await from_scratch(connection, POLICY))
        assert await connection.fetchval("SELECT count(*) FROM identity.dedup") == len(said)
    assert found == scratch


async def test_two_joins_of_one_person_that_run_at_once_both_count(pool):
    one, other = IdentityWorker(), IdentityWorker()
    async with pool.acquire() as first, pool.acquire() as second:
        await handle(first, one, touch("m1", "user_id:u"), touch("m2", "email:e@x.com"), touch("m3", "phone:5550100"))
        transaction = first.transaction()
        await transaction.start()
        await one.handle(Batch(ACCEPTED, 0, [Record(0, touch("m4", "user_id:u", "email:e@x.com"))]),
                         RecordingTx(first, NOW))
        waiting = asyncio.create_task(handle(second, other, touch(
            "m5", "email:e@x.com", "phone:5550100", source="app")))
        while not await pool.fetchval(
                "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND locktype = 'advisory')"):
            assert not waiting.done()
        await transaction.commit()
        await waiting
        profiles = await first.fetch("SELECT DISTINCT profile_id FROM identity.pointers")
    assert len(profiles) == 1


async def test_a_batch_without_joins_does_not_wait_for_one_with(pool):
    one, other = IdentityWorker(), IdentityWorker()
    async with pool.acquire() as first, pool.acquire() as second:
        await handle(first, one, touch("m1", "user_id:u"), touch("m2", "email:e@x.com"))
        async with first.transaction():
            await one.handle(Batch(ACCEPTED, 0, [Record(0, touch("m3", "user_id:u", "email:e@x.com"))]),
                             RecordingTx(first, NOW))
            await asyncio.wait_for(handle(second, other, touch(
                "m4", "user_id:u", source="app"), touch("m5", "user_id:new", source="app")), 20)
