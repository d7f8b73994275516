"""Space comes back by emptying whole tables, and never takes anything with it that is still to be read or sent."""

import asyncio
from typing import Any

import pytest

from bus_world import Seen, World, eventually, touchpoint
from percorso_shared import topics
from percorso_shared.bus.append import period_ms, segment_at
from percorso_shared.bus.port import Batch, Stage, Stop, Tx
from percorso_shared.bus.retention import (
    OUTBOX_PERIOD_MS,
    empty_log_segments,
    empty_outbox_segments,
    outbox_segment_at,
)
from percorso_shared.clock import FrozenClock

DAY = 86_400_000
START = 600 * DAY

embedded = pytest.mark.parametrize("world", ["embedded"], indirect=True)
on_kafka = pytest.mark.parametrize("world", ["kafka"], indirect=True)


async def rows(world: World) -> int:
    count: int = await world.pool.fetchval("SELECT count(*) FROM bus.log")
    return count


async def empty(world: World, now_ms: int) -> list[str]:
    async with world.pool.acquire() as connection:
        return await empty_log_segments(connection, now_ms, 3)


@embedded
async def test_what_every_group_has_read_goes_after_the_retention_and_not_before(world: World) -> None:
    clock, seen = FrozenClock(START), Seen()
    worker = await world.worker(clock=clock)
    await worker.bus.publish(topics.ACCEPTED, {0: [touchpoint(1)]})
    worker.run(Stage("reader", (topics.ACCEPTED,), seen.handle))
    await world.reached("reader", topics.ACCEPTED, 0, 1)
    assert await empty(world, START + 2 * DAY) == []
    assert await rows(world) == 1
    assert await empty(world, START + 5 * DAY) == [f"log_{segment_at(START, 3)}"]
    assert await rows(world) == 0
    clock.advance(5 * DAY)
    await worker.bus.publish(topics.ACCEPTED, {0: [touchpoint(2)]})
    await eventually(lambda: seen.numbers() == [1, 2])


@embedded
async def test_what_a_group_has_not_read_stays_however_old_it_is(world: World) -> None:
    clock, seen = FrozenClock(START), Seen()
    worker = await world.worker(clock=clock)
    reading = Stage("reader", (topics.ACCEPTED,), seen.handle)
    worker.run(reading)
    await eventually(lambda: world.pool.fetchval("SELECT count(*) = 3 FROM bus.position WHERE owner IS NOT NULL"))
    await worker.end()
    writer = await world.worker(clock=clock)
    await writer.bus.publish(topics.ACCEPTED, {0: [touchpoint(1)]})
    clock.advance(33 * DAY)
    assert await empty(world, clock.now_ms()) == []
    await writer.bus.publish(topics.ACCEPTED, {0: [touchpoint(2)]})
    writer.run(reading)
    await eventually(lambda: seen.numbers() == [1, 2])


@embedded
async def test_segments_follow_each_other_while_records_are_read_across_them(world: World) -> None:
    clock, seen = FrozenClock(START), Seen()
    worker = await world.worker(clock=clock)
    for n in range(12):
        await worker.bus.publish(topics.ACCEPTED, {0: [touchpoint(n)]})
        clock.advance(period_ms(3))
    worker.run(Stage("reader", (topics.ACCEPTED,), seen.handle, max_records=5))
    await eventually(lambda: seen.numbers() == list(range(12)))
    used = await world.pool.fetchval("SELECT count(DISTINCT segment) FROM bus.log")
    assert used == 4


@embedded
async def test_a_table_in_use_is_left_for_later_after_a_tenth_of_a_second(world: World) -> None:
    clock = FrozenClock(START)
    worker = await world.worker(clock=clock)
    await worker.bus.publish(topics.ACCEPTED, {0: [touchpoint(1)]})
    async with world.pool.acquire() as reader, reader.transaction():
        await reader.fetch("SELECT * FROM bus.log")
        assert await empty(world, START + 33 * DAY) == []
    assert len(await empty(world, START + 33 * DAY)) == 1


@embedded
async def test_a_new_group_begins_with_the_oldest_record_that_is_left(world: World) -> None:
    clock, seen = FrozenClock(START), Seen()
    worker = await world.worker(clock=clock)
    await worker.bus.publish(topics.ACCEPTED, {0: [touchpoint(1)]})
    clock.advance(33 * DAY)
    await empty(world, clock.now_ms())
    await worker.bus.publish(topics.ACCEPTED, {0: [touchpoint(2)]})
    worker.run(Stage("reader", (topics.ACCEPTED,), seen.handle))
    await eventually(lambda: seen.numbers() == [2])


@embedded
async def test_records_that_were_deleted_unread_stop_the_stage(world: World) -> None:
    worker, seen = await world.worker(), Seen()
    for n in range(5):
        await worker.bus.publish(topics.ACCEPTED, {0: [touchpoint(n)]})
    stage = Stage("reader", (topics.ACCEPTED,), seen.handle)
    await world.pool.execute("INSERT INTO bus.position (grp, topic, partition, next) VALUES ('reader', $1, 0, 2)",
                             topics.ACCEPTED)
    await world.pool.execute("DELETE FROM bus.log WHERE first < 4")
    running = worker.run(stage)
    with pytest.raises(Stop, match="begins at 4"):
        await running
    worker.running.clear()


@pytest.mark.kafka
@on_kafka
async def test_the_outbox_is_emptied_when_all_of_it_is_on_kafka(world: World) -> None:
    clock = FrozenClock(START)
    worker, seen = await world.worker(clock=clock), Seen()

    async def pass_on(batch: Batch, tx: Tx) -> None:
        for record in batch.records:
            tx.publish(topics.RESOLVED, record.value, origin=(batch.partition, record.position), key=b"k")

    async def empty_outbox() -> list[str]:
        async with world.pool.acquire() as connection:
            return await empty_outbox_segments(connection, START + OUTBOX_PERIOD_MS)

    await worker.bus.publish(topics.ACCEPTED, {0: [touchpoint(1)]})
    worker.run(Stage("identity_worker", (topics.ACCEPTED,), pass_on))
    worker.run(Stage("profile_worker", (topics.RESOLVED,), seen.handle))
    await eventually(lambda: len(seen.records) == 1)
    await eventually(lambda: world.pool.fetchval("SELECT bool_and(unit = sent) FROM bus.position"))
    await world.pool.execute("UPDATE bus.position SET sent = sent - 1 WHERE unit > 0")
    assert await empty_outbox() == []
    await world.pool.execute("UPDATE bus.position SET sent = unit WHERE unit > 0")
    assert await empty_outbox() == [f"outbox_{outbox_segment_at(START)}"]


@pytest.mark.kafka
@on_kafka
async def test_positions_of_another_bus_are_not_taken_for_ours(world: World) -> None:
    from dataclasses import replace

    from percorso_shared.bus.port import BusMismatch
    await world.worker()
    world.settings = replace(world.settings, kafka_bootstrap="")
    with pytest.raises(BusMismatch, match="was used with the kafka bus"):
        await world.worker()


async def test_publishing_while_the_database_is_cut_off_says_so_and_goes_on_afterwards(world: World) -> None:
    """On Kafka publishing does not need the database at all."""
    worker = await world.worker()
    await worker.bus.publish(topics.ACCEPTED, {0: [touchpoint(1)]})

    async def cut() -> Any:
        return await world.pool.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'worker' "
            "AND datname = current_database()")
    await cut()
    results = await asyncio.gather(*(worker.bus.publish(topics.ACCEPTED, {0: [touchpoint(n)]}) for n in range(5)),
                                   return_exceptions=True)
    for result in results:
        assert isinstance(result, dict) or type(result).__name__ == "BusUnavailable"
    await worker.bus.publish(topics.ACCEPTED, {0: [touchpoint(6)]})
