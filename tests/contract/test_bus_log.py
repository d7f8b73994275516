"""Publishing and reading: durable, in order, gap-free, in bounded batches."""

import asyncio

import pytest

from bus_world import Seen, World, eventually, touchpoint
from percorso_shared import topics
from percorso_shared.bus.port import Batch, Record, Stage, Tx


async def test_publish_returns_the_position_of_the_first_record_of_each_partition(world: World) -> None:
    bus = (await world.worker()).bus
    first = await bus.publish(topics.ACCEPTED, {0: [touchpoint(1), touchpoint(2)], 1: [touchpoint(3)]})
    second = await bus.publish(topics.ACCEPTED, {0: [touchpoint(4)], 1: [touchpoint(5)]})
    assert first == {0: 0, 1: 0}
    assert second == {0: 2, 1: 1}


async def test_what_was_published_is_read_by_another_process_in_order_and_without_gaps(world: World) -> None:
    writer, reader, seen = await world.worker(), await world.worker(), Seen()
    reader.run(Stage("reader", (topics.ACCEPTED,), seen.handle))
    places = await asyncio.gather(*(
        writer.bus.publish(topics.ACCEPTED, {n % 3: [touchpoint(n * 10 + k) for k in range(7)]}) for n in range(60)))
    await eventually(lambda: len(seen.records) == 420)
    for partition in range(3):
        of = [(position, value) for _, p, position, value in seen.records if p == partition]
        assert [position for position, _ in of] == list(range(140))
        for n in range(partition, 60, 3):
            start = places[n][partition]
            assert [value for _, value in of[start:start + 7]] == [touchpoint(n * 10 + k) for k in range(7)]


async def test_two_processes_that_publish_at_once_leave_no_gap(world: World) -> None:
    one, two = await world.worker(), await world.worker()
    firsts = await asyncio.gather(*(
        worker.bus.publish(topics.ACCEPTED, {0: [touchpoint(n)], 1: [touchpoint(n)] * 2})
        for n in range(40) for worker in (one, two)))
    assert sorted(place[0] for place in firsts) == list(range(80))
    assert sorted(place[1] for place in firsts) == list(range(0, 160, 2))


async def test_a_batch_has_at_most_1000_records_and_about_1_mib(world: World) -> None:
    worker, seen = await world.worker(), Seen()
    await worker.bus.publish(topics.ACCEPTED, {0: [touchpoint(n) for n in range(2500)]})
    large = touchpoint(0, source="x" * 300_000)
    await worker.bus.publish(topics.ACCEPTED, {1: [large] * 8})
    worker.run(Stage("reader", (topics.ACCEPTED,), seen.handle))
    await eventually(lambda: len(seen.records) == 2508)
    assert seen.numbers(0) == list(range(2500))
    assert max(len(batch.records) for batch in seen.batches) <= 1000
    assert max(sum(len(record.value) for record in batch.records) for batch in seen.batches) <= 2 << 20


async def test_a_stage_may_ask_for_smaller_batches(world: World) -> None:
    worker, seen = await world.worker(), Seen()
    await worker.bus.publish(topics.ACCEPTED, {0: [touchpoint(n) for n in range(95)]})
    worker.run(Stage("reader", (topics.ACCEPTED,), seen.handle, max_records=10))
    await eventually(lambda: len(seen.records) == 95)
    assert max(len(batch.records) for batch in seen.batches) <= 10


async def test_a_restarted_worker_goes_on_where_it_stopped(world: World) -> None:
    worker, seen = await world.worker(), Seen()
    await worker.bus.publish(topics.ACCEPTED, {0: [touchpoint(n) for n in range(10)]})
    worker.run(Stage("reader", (topics.ACCEPTED,), seen.handle))
    await eventually(lambda: len(seen.records) == 10)
    await worker.end()
    again = await world.worker()
    await again.bus.publish(topics.ACCEPTED, {0: [touchpoint(n) for n in range(10, 20)]})
    again.run(Stage("reader", (topics.ACCEPTED,), seen.handle))
    await eventually(lambda: len(seen.records) >= 20)
    assert seen.numbers() == list(range(20))


async def test_each_group_reads_everything(world: World) -> None:
    worker, one, two = await world.worker(), Seen(), Seen()
    worker.run(Stage("one", (topics.ACCEPTED,), one.handle))
    worker.run(Stage("two", (topics.ACCEPTED,), two.handle))
    await worker.bus.publish(topics.ACCEPTED, {0: [touchpoint(1)], 2: [touchpoint(2)]})
    await eventually(lambda: len(one.records) == 2 and len(two.records) == 2)


async def test_outputs_carry_stage_origin_and_seq_and_stay_in_their_partition(world: World) -> None:
    worker, seen = await world.worker(), Seen()

    async def pass_on(batch: Batch, tx: Tx) -> None:
        for record in batch.records:
            tx.publish(topics.RESOLVED, record.value, origin=(batch.partition, record.position))

    worker.run(Stage("identity_worker", (topics.ACCEPTED,), pass_on))
    worker.run(Stage("profile_worker", (topics.RESOLVED,), seen.handle))
    await worker.bus.publish(topics.ACCEPTED, {0: [touchpoint(1), touchpoint(2)], 2: [touchpoint(3)]})
    await eventually(lambda: len(seen.records) == 3)
    values = {(partition, position): value for _, partition, position, value in seen.records}
    assert values[0, 0] == b'{"stage":"identity_worker","origin":[0,0],"seq":1,' + touchpoint(1)[1:]
    assert values[0, 1] == b'{"stage":"identity_worker","origin":[0,1],"seq":2,' + touchpoint(2)[1:]
    assert values[2, 0] == b'{"stage":"identity_worker","origin":[2,0],"seq":1,' + touchpoint(3)[1:]


async def test_unread_counts_what_a_stage_has_not_worked_on(world: World) -> None:
    worker, seen = await world.worker(), Seen()
    await worker.bus.publish(topics.ACCEPTED, {0: [touchpoint(n) for n in range(5)], 1: [touchpoint(9)]})
    assert await worker.bus.unread("reader", topics.ACCEPTED) == {0: 5, 1: 1, 2: 0}
    worker.run(Stage("reader", (topics.ACCEPTED,), seen.handle))
    await eventually(lambda: len(seen.records) == 6)
    assert await worker.bus.unread("reader", topics.ACCEPTED) == {0: 0, 1: 0, 2: 0}


async def test_partitions_for_keys_are_spread_and_leave_the_last_to_us(world: World) -> None:
    bus = (await world.worker()).bus
    assert (bus.partitions, bus.ingest_partitions, bus.own_partition) == (3, 2, 2)
    counts = [0, 0, 0]
    for n in range(2000):
        counts[bus.partition_for(b"user-%d" % n)] += 1
    assert counts[2] == 0
    assert min(counts[:2]) > 850


async def test_records_of_any_shape_pass(world: World) -> None:
    worker = await world.worker()
    got: list[Record] = []

    async def keep(batch: Batch, tx: Tx) -> None:
        tx.after_commit(lambda: got.extend(batch.records))

    values = [b"", b"{}", b"\x00\xff", b"x" * 700_000] if not world.kafka else [b"{}", b"\x00\xff", b"x" * 700_000]
    await worker.bus.publish(topics.REFUSED, {0: values})
    worker.run(Stage("reader", (topics.REFUSED,), keep))
    await eventually(lambda: len(got) == len(values))
    assert [record.value for record in got] == values


@pytest.mark.parametrize("count", [1, 4])
async def test_another_number_of_partitions_than_at_the_first_start_is_not_taken(world: World, count: int) -> None:
    from dataclasses import replace
    await world.worker()
    world.settings = replace(world.settings, partitions=count)
    assert (await world.worker()).bus.partitions == 3
