"""Broker or database away for a while: visible waiting, nothing lost, nothing twice."""

from typing import Any

import pytest

from bus_worker import STATE
from bus_world import Seen, World, eventually, number_of, touchpoint
from percorso_shared import topics
from percorso_shared.bus.port import Batch, BusUnavailable, Stage, Tx

on_kafka = pytest.mark.parametrize("world", ["kafka"], indirect=True)


async def remember(batch: Batch, tx: Tx) -> None:
    await tx.connection.executemany("INSERT INTO state (partition, n) VALUES ($1, $2)",
                                    [(batch.partition, number_of(record.value)) for record in batch.records])
    for record in batch.records:
        tx.publish(topics.RESOLVED, record.value, origin=(batch.partition, record.position))


@pytest.mark.kafka
@on_kafka
async def test_a_broker_that_goes_away_and_comes_back_costs_nothing(kafka: Any, world: World) -> None:
    if not hasattr(kafka, "pid"):
        pytest.skip("this broker cannot be stopped by a test")
    await world.pool.execute(STATE)
    worker, seen = await world.worker(), Seen()
    worker.run(Stage("identity_worker", (topics.ACCEPTED,), remember))
    worker.run(Stage("profile_worker", (topics.RESOLVED,), seen.handle))
    await worker.bus.publish(topics.ACCEPTED, {p: [touchpoint(p)] for p in range(3)})
    await eventually(lambda: len(seen.records) == 3)
    kafka.stop(hard=True)
    try:
        with pytest.raises(BusUnavailable):
            await worker.bus.publish(topics.ACCEPTED, {0: [touchpoint(10)]})
        with pytest.raises(BusUnavailable):
            await worker.bus.publish(topics.ACCEPTED, {0: [touchpoint(11)]})
        assert "publish" in worker.bus.trouble
    finally:
        kafka.start()

    async def takes_records_again() -> bool:
        try:
            await worker.bus.publish(topics.ACCEPTED, {0: [touchpoint(12)]})
        except BusUnavailable:
            return False
        return True
    await eventually(takes_records_again, 40)
    await worker.bus.publish(topics.ACCEPTED, {1: [touchpoint(13)], 2: [touchpoint(14)]})
    await eventually(lambda: {0, 1, 2, 12, 13, 14} <= set(seen.numbers()), 60)
    assert "publish" not in worker.bus.trouble
    rows = await world.pool.fetch("SELECT n FROM state ORDER BY n")
    numbers = [row["n"] for row in rows if row["n"] not in (10, 11)]  # their fate was unknown to the caller
    assert numbers == sorted(set(seen.numbers()) - {10, 11})


async def test_workers_go_on_by_themselves_after_their_database_connections_are_cut(world: World) -> None:
    await world.pool.execute(STATE)
    worker, seen = await world.worker(), Seen()
    worker.run(Stage("identity_worker", (topics.ACCEPTED,), remember))
    worker.run(Stage("profile_worker", (topics.RESOLVED,), seen.handle))
    sent: list[int] = []
    for number in range(30):
        if number % 10 == 5:
            await world.pool.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'worker' "
                "AND datname = current_database()")
        try:
            await worker.bus.publish(topics.ACCEPTED, {number % 3: [touchpoint(number)]})
        except BusUnavailable:
            continue
        sent.append(number)
    assert len(sent) >= 24
    await eventually(lambda: set(sent) <= set(seen.numbers()), 30)
    assert sorted(seen.numbers()) == sorted(set(seen.numbers()))
    rows = await world.pool.fetch("SELECT n FROM state ORDER BY n")
    assert [row["n"] for row in rows] == sorted(seen.numbers())
