"""The stream clock never overtakes a record that is unread, whatever the outage; receipts are followed to the fold."""

import asyncio
from collections.abc import Sequence

import pytest

from bus_world import Seen, Worker, World, eventually, touchpoint
from percorso_shared import topics
from percorso_shared.bus.place import Place
from percorso_shared.bus.port import Batch, Stage, Tx
from percorso_shared.bus.receipts import BadReceipt, Follower, encode_receipt
from percorso_shared.bus.stream_clock import MARGIN_MS, Waiting, first_mark
from percorso_shared.clock import FrozenClock

NOW = 1_772_409_600_000
HOUR = 3_600_000
PIPELINE = ("identity_worker", "profile_worker", "orchestrator_worker")


def passing_on(to: str) -> Stage:
    """The stage of the pipeline that writes to `to`."""
    async def handle(batch: Batch, tx: Tx) -> None:
        for record in batch.records:
            tx.publish(to, b'{"n":' + record.value.partition(b'"n":')[2].split(b",")[0] + b"}",
                       origin=(batch.partition, record.position))

    if to == topics.RESOLVED:
        return Stage("identity_worker", (topics.ACCEPTED,), handle)
    return Stage("profile_worker", (topics.RESOLVED, topics.IDENTITY_CHANGED), handle)


def reading(gate: asyncio.Event | None = None) -> Stage:
    """The last stage; it waits for the gate in front of every batch."""
    async def handle(batch: Batch, tx: Tx) -> None:
        if gate is not None:
            await gate.wait()

    return Stage("orchestrator_worker", (topics.FOLDED,), handle)


def run_pipeline(worker: Worker, stages: Sequence[Stage]) -> None:
    for stage in stages:
        worker.run(stage)


async def test_with_nothing_to_read_each_stage_is_at_now_minus_a_second(world: World) -> None:
    worker = await world.worker(clock=FrozenClock(NOW))
    run_pipeline(worker, [passing_on(topics.RESOLVED), passing_on(topics.FOLDED), reading()])
    for stage in PIPELINE:
        async def has_clock(stage: str = stage) -> bool:
            return await worker.bus.stream_clock_ms(stage) == NOW - MARGIN_MS
        await eventually(has_clock)


async def test_there_is_no_clock_while_a_partition_has_no_mark(world: World) -> None:
    worker = await world.worker(clock=FrozenClock(NOW))
    assert await worker.bus.stream_clock_ms("identity_worker") is None
    await world.pool.execute(
        "INSERT INTO bus.position (grp, topic, partition, mark) VALUES ('identity_worker', $1, 0, 5)", topics.ACCEPTED)
    assert await worker.bus.stream_clock_ms("identity_worker") is None


async def test_the_clock_goes_on_after_touchpoints_have_passed_through_all_stages(world: World) -> None:
    clock = FrozenClock(NOW)
    worker = await world.worker(clock=clock)
    run_pipeline(worker, [passing_on(topics.RESOLVED), passing_on(topics.FOLDED), reading()])
    await worker.bus.publish(topics.ACCEPTED, {p: [touchpoint(p, received_at=NOW)] for p in range(3)})
    await world.reached("orchestrator_worker", topics.FOLDED, 2, 1)
    clock.advance(HOUR)

    async def follows() -> bool:
        return await worker.bus.stream_clock_ms("orchestrator_worker") == NOW + HOUR - MARGIN_MS
    await eventually(follows)


async def test_after_an_outage_the_clock_does_not_overtake_what_is_unread(world: World) -> None:
    clock, gate = FrozenClock(NOW), asyncio.Event()
    worker = await world.worker(clock=clock)
    run_pipeline(worker, [passing_on(topics.RESOLVED), passing_on(topics.FOLDED), reading(gate)])

    async def started() -> bool:
        return await worker.bus.stream_clock_ms("orchestrator_worker") == NOW - MARGIN_MS
    await eventually(started)
    await worker.end()  # an hour passes, touchpoints come in, nobody works
    writer = await world.worker(clock=clock)
    clock.advance(60_000)
    await writer.bus.publish(topics.ACCEPTED, {1: [touchpoint(1, received_at=clock.now_ms())]})
    clock.advance(HOUR)

    again = await world.worker(clock=clock)
    run_pipeline(again, [passing_on(topics.RESOLVED), passing_on(topics.FOLDED), reading(gate)])
    # The stages before are at the present; the last one still has that record to read.

    async def stage_before_is_there() -> bool:
        return await again.bus.stream_clock_ms("profile_worker") == clock.now_ms() - MARGIN_MS
    await eventually(stage_before_is_there)
    for _ in range(100):
        mark = await again.bus.stream_clock_ms("orchestrator_worker")
        assert mark is not None
        assert mark <= NOW + 60_000
        await asyncio.sleep(0.02)
    gate.set()

    async def has_caught_up() -> bool:
        return await again.bus.stream_clock_ms("orchestrator_worker") == clock.now_ms() - MARGIN_MS
    await eventually(has_caught_up)


async def test_what_a_spool_holds_back_holds_the_clock_back(world: World) -> None:
    clock = FrozenClock(NOW)
    worker = await world.worker(clock=clock)
    await worker.bus.hold_clock("ingest_api-1", NOW - 50_000)
    run_pipeline(worker, [passing_on(topics.RESOLVED)])

    async def held() -> bool:
        return await worker.bus.stream_clock_ms("identity_worker") == NOW - 50_001
    await eventually(held)
    await worker.bus.hold_clock("ingest_api-1", None)

    async def free() -> bool:
        return await worker.bus.stream_clock_ms("identity_worker") == NOW - MARGIN_MS
    await eventually(free)


def at(next_: int, mark: int | None, received: int | None) -> Place:
    return Place("identity_worker", topics.ACCEPTED, 0, 1, next_, mark=mark, reading_received=received)


@pytest.mark.parametrize(("place", "end", "expected"), [
    (at(5, None, None), 5, NOW - 1000),
    (at(5, None, None), 6, None),
    (at(5, NOW - 9000, None), 6, NOW - 9000),
    (at(5, NOW - 9000, NOW - 5000), 6, NOW - 6000),
    (at(5, NOW - 2000, NOW - 5000), 6, NOW - 2000),
    (at(5, NOW - 9000, None), None, NOW - 9000),
    (at(6, NOW + 9000, None), 6, NOW + 9000),
], ids=["at_the_end", "unread", "unread_keeps", "follows_what_it_read", "never_back", "end_unknown", "clock_set_back"])
def test_the_mark_of_the_first_stage(place: Place, end: int | None, expected: int | None) -> None:
    assert first_mark(place, end, NOW, None) == expected


def test_a_mark_is_taken_over_only_when_all_that_came_before_it_is_seen() -> None:
    waiting = Waiting(NOW, {("a", "x"): 5, ("b", "x"): 2})
    places = [Place("later", "a", 0, 1, 0, seen={"x": 5}), Place("later", "b", 0, 1, 0, seen={"x": 1})]
    assert not waiting.is_over(places)
    places[1].seen = {"x": 2}
    assert waiting.is_over(places)


async def test_a_receipt_is_folded_once_the_profile_stage_has_worked_on_it(world: World) -> None:
    gate = asyncio.Event()

    async def fold(batch: Batch, tx: Tx) -> None:
        await gate.wait()

    worker = await world.worker()
    first = await worker.bus.publish(topics.ACCEPTED, {0: [touchpoint(n) for n in range(5)], 1: [touchpoint(9)]})
    receipt = encode_receipt({0: first[0] + 4, 1: first[1]})
    follower = Follower(receipt)
    assert not await follower.folded(world.pool)
    worker.run(passing_on(topics.RESOLVED))
    worker.run(Stage("profile_worker", (topics.RESOLVED, topics.IDENTITY_CHANGED), fold))
    await world.reached("identity_worker", topics.ACCEPTED, 0, 5)
    await world.reached("identity_worker", topics.ACCEPTED, 1, 1)
    assert not await follower.wait(world.pool, 0.1)
    gate.set()
    assert await follower.wait(world.pool, 10)
    assert await Follower(receipt).folded(world.pool)


async def test_a_receipt_of_touchpoints_that_led_to_nothing_is_folded_when_identity_has_passed(world: World) -> None:
    worker, seen = await world.worker(), Seen()
    first = await worker.bus.publish(topics.ACCEPTED, {0: [touchpoint(1)]})
    worker.run(Stage("identity_worker", (topics.ACCEPTED,), seen.handle))
    assert await Follower(encode_receipt(first)).wait(world.pool, 10)


@pytest.mark.parametrize("word", ["", "!", "abc", "a" * 70_000, "é"])
def test_what_is_no_receipt_is_refused(word: str) -> None:
    with pytest.raises(BadReceipt):
        Follower(word)
