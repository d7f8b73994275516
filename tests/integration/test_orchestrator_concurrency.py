"""One writer per person: units of work that meet on a person wait for each other and see what the other did."""

import asyncio

import pytest

from journey_world import JourneyWorld, at
from percorso_orchestrator.check_runs import check_runs
from recording_tx import RecordingTx

JOURNEY = """
journey: confirm
policy: free
lateness: 0s
entry: {event: begin, key: event.k, reentry: when_ended}
exit: [{event: leave, match: k, as: left}]
steps:
  - {id: w, wait: {for: 2h}}
  - {id: m, send: email, template: t}
"""


@pytest.fixture
async def world(pool) -> JourneyWorld:
    made = JourneyWorld(pool)
    await made.publish(JOURNEY, "policies: {free: {}}")
    await made.person("ada")
    return made


async def somebody_waits_for_a_lock(world: JourneyWorld) -> None:
    async with asyncio.timeout(10):
        while not await world.pool.fetchval(  # noqa: ASYNC110
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE datname = current_database() AND wait_event_type = 'Lock'"):
            await asyncio.sleep(0)


async def test_an_entry_and_an_exit_of_two_partitions_meet(world):
    """The exit's batch begins while the entry's is not committed."""
    begin = world.touchpoint("ada", "begin", at(0, 10), k="a")
    leave = world.touchpoint("ada", "leave", at(0, 11), k="a")
    await world.remember(begin)
    async with world.pool.acquire() as first, world.pool.acquire() as second:
        entering = first.transaction()
        await entering.start()
        await world.worker.handle(world.batch(begin), RecordingTx(first, at(0, 11)))
        await world.remember(leave)

        async def exits() -> None:
            async with second.transaction():
                await world.worker.handle(world.batch(leave), RecordingTx(second, at(0, 11)))

        other = asyncio.create_task(exits())
        await somebody_waits_for_a_lock(world)
        await entering.commit()
        await other
    assert [run["ended_as"] for run in await world.runs()] == ["left"]


async def test_a_timer_and_an_exit_meet_and_only_one_of_them_counts(world):
    await world.happens("ada", "begin", at(0, 10), k="a")
    leave = world.touchpoint("ada", "leave", at(0, 11, 59), at(0, 12, 1), k="a")
    await world.remember(leave)
    world.bus.clock = at(0, 12, 1)
    async with world.pool.acquire() as first, world.pool.acquire() as second:
        leaving = first.transaction()
        await leaving.start()
        await world.worker.handle(world.batch(leave), RecordingTx(first, at(0, 12, 1)))

        async def fires() -> None:
            async with second.transaction():
                await world.worker.due.tick(RecordingTx(second, at(0, 12, 1)))

        other = asyncio.create_task(fires())
        await somebody_waits_for_a_lock(world)
        await leaving.commit()
        await other
    assert await world.sends() == []
    async with world.pool.acquire() as connection:
        check = await check_runs(connection, 1)
    assert (check.active, check.stuck, check.unbalanced) == (0, 0, {})


async def test_two_entries_of_one_key_at_once_make_one_run(world):
    first_begin = world.touchpoint("ada", "begin", at(0, 10), k="a")
    second_begin = world.touchpoint("ada", "begin", at(0, 10, 1), k="a")
    await world.remember(first_begin, second_begin)

    async def enters(touchpoint: dict[str, object]) -> None:
        async with world.pool.acquire() as connection, connection.transaction():
            await world.worker.handle(world.batch(touchpoint), RecordingTx(connection, at(0, 10, 1)))

    await asyncio.gather(enters(first_begin), enters(second_begin))
    assert len(await world.runs()) == 1
    assert [kind for kind, _, _ in await world.trace()].count("not entered") == 1


async def test_two_processes_that_tick_at_once_fire_each_timer_once(world):
    for number in range(20):
        await world.person(f"p{number}")
        await world.happens(f"p{number}", "begin", at(0, 10), k="a")
    world.bus.clock = world.now = at(0, 13)

    async def fires() -> None:
        async with world.pool.acquire() as connection, connection.transaction():
            await world.worker.due.tick(RecordingTx(connection, at(0, 13)))

    await asyncio.gather(fires(), fires(), fires())
    assert [state for _, state, _ in await world.sends()] == ["planned"] * 20


async def test_batches_of_the_same_people_in_opposite_orders_do_not_lock_each_other_out(world):
    names = [f"p{number}" for number in range(30)]
    for name in names:
        await world.person(name)
    one = [world.touchpoint(name, "begin", at(0, 10), k="a") for name in names]
    two = [world.touchpoint(name, "begin", at(0, 10), k="b") for name in reversed(names)]
    await world.remember(*one, *two)

    async def enters(batch: list[dict[str, object]]) -> None:
        async with world.pool.acquire() as connection, connection.transaction():
            await world.worker.handle(world.batch(*batch), RecordingTx(connection, at(0, 10)))

    await asyncio.gather(enters(one), enters(two))
    assert len(await world.runs()) == 60


async def test_a_unit_of_work_that_rolls_back_leaves_no_cursor_behind(world):
    await world.happens("ada", "begin", at(0, 10), k="a")
    world.bus.clock = world.now = at(0, 13)
    async with world.pool.acquire() as connection:
        undone = connection.transaction()
        await undone.start()
        await world.worker.due.tick(RecordingTx(connection, at(0, 13)))
        await undone.rollback()
    await world.tick(at(0, 13))
    assert await world.sends() == [("m", "planned", at(0, 12))]
