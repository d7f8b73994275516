"""Several workers share a group's partitions; what one of them loses it can no longer touch."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bus_worker import STATE
from bus_world import Seen, World, eventually, touchpoint
from percorso_shared import topics
from percorso_shared.bus.port import Batch, Stage, Tx

TESTS = Path(__file__).parent.parent


@contextmanager
def process(world: World, name: str, *, pause_s: float) -> Iterator[subprocess.Popen[bytes]]:
    task = {"url": world.url, "name": name, "bootstrap": world.settings.kafka_bootstrap,
            "prefix": world.settings.kafka_prefix, "partitions": world.settings.partitions, "pause_s": pause_s,
            "max_records": 10}
    running = subprocess.Popen([sys.executable, str(TESTS / "bus_worker.py"), json.dumps(task)], cwd=TESTS,
                               env={**os.environ, "PYTHONPATH": str(TESTS)})
    try:
        yield running
    finally:
        running.kill()
        running.wait()


async def done_by(world: World, name: str) -> list[tuple[int, int]]:
    rows = await world.pool.fetch("SELECT partition, n FROM state WHERE worker = $1 ORDER BY n", name)
    return [(row["partition"], row["n"]) for row in rows]


async def numbers(world: World) -> list[int]:
    return [row["n"] for row in await world.pool.fetch("SELECT n FROM state ORDER BY n")]


async def test_two_workers_share_the_partitions_and_one_takes_all_when_the_other_leaves(world: World) -> None:
    one, two = await world.worker(), await world.worker()
    by_one, by_two = Seen(), Seen()

    one.run(Stage("reader", (topics.ACCEPTED,), by_one.handle))
    two.run(Stage("reader", (topics.ACCEPTED,), by_two.handle))

    async def both_have_some() -> bool:
        await one.bus.publish(topics.ACCEPTED, {p: [touchpoint(0)] for p in range(3)})
        recent = [{partition for _, partition, _, _ in seen.records[-3:]} for seen in (by_one, by_two)]
        return bool(recent[0]) and bool(recent[1]) and await owners(world) == 2
    await eventually(both_have_some, 30)
    await two.end()
    world.workers.remove(two)
    await one.bus.publish(topics.ACCEPTED, {p: [touchpoint(100 + p)] for p in range(3)})
    await eventually(lambda: {100, 101, 102} <= set(by_one.numbers()) | set(by_two.numbers()))
    positions = sorted((p, position) for _, p, position, _ in by_one.records + by_two.records)
    assert len(positions) == len(set(positions))


async def owners(world: World) -> int:
    found: int = await world.pool.fetchval("SELECT count(DISTINCT owner) FROM bus.position WHERE owner IS NOT NULL")
    return found


@pytest.mark.parametrize("pause_s", [0.4, 0.0], ids=["in_the_middle_of_a_unit_of_work", "between_units_of_work"])
async def test_a_worker_frozen_through_a_takeover_commits_nothing_of_what_it_lost(world: World, pause_s: float) -> None:
    await world.pool.execute(STATE)
    writer = await world.worker()
    with process(world, "first", pause_s=pause_s) as first:
        await writer.bus.publish(topics.ACCEPTED, {p: [touchpoint(p * 1000 + n) for n in range(30)] for p in range(3)})

        async def first_works() -> bool:
            return len(await done_by(world, "first")) >= (30 if pause_s else 90)
        await eventually(first_works, 30)
        if not pause_s:
            await asyncio.sleep(0.3)
        first.send_signal(signal.SIGSTOP)
        before = await done_by(world, "first")
        with process(world, "second", pause_s=0.0) as second:
            await writer.bus.publish(topics.ACCEPTED,
                                     {p: [touchpoint(p * 1000 + n) for n in range(30, 60)] for p in range(3)})

            async def all_done() -> bool:
                return len(await numbers(world)) >= 180
            await eventually(all_done, 40)
            epochs = await world.pool.fetch("SELECT partition, epoch FROM bus.position ORDER BY 1")
            first.send_signal(signal.SIGCONT)
            # It finds out by itself, and later shares the work again.
            await asyncio.sleep(2.5)
            assert await done_by(world, "first") == before
            assert len(epochs) == 3
            await writer.bus.publish(topics.ACCEPTED,
                                     {p: [touchpoint(p * 1000 + n) for n in range(60, 90)] for p in range(3)})

            async def later_ones_done() -> bool:
                return len(await numbers(world)) >= 270
            await eventually(later_ones_done, 40)
            assert first.poll() is None
            assert second.poll() is None
    assert await numbers(world) == sorted(p * 1000 + n for p in range(3) for n in range(90))
    await outputs_are_each_there_once(world, 270)


async def test_a_killed_worker_is_replaced_and_its_unsent_outputs_are_sent(world: World) -> None:
    await world.pool.execute(STATE)
    writer = await world.worker()
    await writer.bus.publish(topics.ACCEPTED, {p: [touchpoint(p * 1000 + n) for n in range(200)] for p in range(3)})
    with process(world, "first", pause_s=0.0) as first:
        async def first_works() -> bool:
            return len(await done_by(world, "first")) >= 60
        await eventually(first_works, 30)
        first.kill()
        with process(world, "second", pause_s=0.0):
            async def all_done() -> bool:
                return len(await numbers(world)) >= 600
            await eventually(all_done, 40)
            assert await numbers(world) == sorted(p * 1000 + n for p in range(3) for n in range(200))
            await outputs_are_each_there_once(world, 600)


async def outputs_are_each_there_once(world: World, count: int) -> None:
    reader, seen = await world.worker(), Seen()
    reader.run(Stage("profile_worker", (topics.RESOLVED,), seen.handle))
    await eventually(lambda: len(seen.records) >= count, 30)
    assert len(set(seen.numbers())) == len(seen.numbers()) == count


@pytest.mark.kafka
@pytest.mark.parametrize("world", ["kafka"], indirect=True)
async def test_what_was_committed_but_not_sent_is_sent_by_the_next_owner(world: World) -> None:
    stage = Stage("identity_worker", (topics.ACCEPTED,), pass_on)
    worker = await world.worker()

    async def dead_letter(*arguments: Any) -> int:
        await asyncio.Event().wait()
        return 0

    await worker.bus.publish(topics.ACCEPTED, {0: [touchpoint(n) for n in range(5)]})
    worker.bus._writer.send = dead_letter  # the process dies between commit and send
    worker.run(stage)
    await world.reached("identity_worker", topics.ACCEPTED, 0, 5)
    await worker.vanish()
    world.workers.remove(worker)
    assert await world.pool.fetchval("SELECT unit - sent FROM bus.position WHERE partition = 0 AND topic <> ''") == 1
    heir, seen = await world.worker(), Seen()
    heir.run(stage)
    heir.run(Stage("profile_worker", (topics.RESOLVED,), seen.handle))
    await eventually(lambda: seen.numbers() == list(range(5)), 30)
    await eventually(lambda: world.pool.fetchval(
        "SELECT unit = sent FROM bus.position WHERE partition = 0 AND grp = 'identity_worker'"))


async def pass_on(batch: Batch, tx: Tx) -> None:
    for record in batch.records:
        tx.publish(topics.RESOLVED, record.value, origin=(batch.partition, record.position))
