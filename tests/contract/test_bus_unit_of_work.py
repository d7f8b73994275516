"""One transaction for state, outputs and position; the fence; every effect once."""

import asyncio
from typing import Any

import asyncpg
import msgspec
import pytest

from bus_world import Seen, World, eventually, number_of, touchpoint
from percorso_shared import topics
from percorso_shared.bus.codec import splice
from percorso_shared.bus.port import Batch, PoisonRecord, Stage, Stop, Tx

STATE = "CREATE TABLE state (partition int, n int)"


async def remember(batch: Batch, tx: Tx) -> None:
    """State and an output for each record."""
    await tx.connection.executemany("INSERT INTO state VALUES ($1, $2)",
                                    [(batch.partition, number_of(record.value)) for record in batch.records])
    for record in batch.records:
        tx.publish(topics.RESOLVED, record.value, origin=(batch.partition, record.position))


async def kept(world: World) -> list[int]:
    return [row["n"] for row in await world.pool.fetch("SELECT n FROM state ORDER BY n")]


async def test_the_fence_stops_a_unit_of_work_after_the_epoch_moved_on(world: World) -> None:
    await world.pool.execute(STATE)
    worker = await world.worker()
    stage = Stage("identity_worker", (topics.ACCEPTED,), remember)
    worker.run(stage)
    await eventually(lambda: world.pool.fetchval("SELECT count(*) = 3 FROM bus.position WHERE owner IS NOT NULL"))
    await world.pool.execute("UPDATE bus.position SET epoch = epoch + 1000, owner = 'another' WHERE partition = 0")
    await worker.bus.publish(topics.ACCEPTED, {0: [touchpoint(1)], 1: [touchpoint(2)]})
    await eventually(lambda: world.position("identity_worker", topics.ACCEPTED, 1))
    if world.kafka:
        assert await kept(world) == [2]
        assert await world.position("identity_worker", topics.ACCEPTED, 0) == 0
    else:  # there the other is found not to live, and the partition is claimed again
        await eventually(lambda: world.position("identity_worker", topics.ACCEPTED, 0))
        assert await kept(world) == [1, 2]


async def test_a_relay_that_sends_twice_has_no_effect_twice(world: World) -> None:
    worker, seen = await world.worker(), Seen()
    records = [splice(touchpoint(n), "identity_worker", (0, n), n) for n in range(1, 6)]
    await worker.bus.publish(topics.RESOLVED, {0: records})
    await worker.bus.publish(topics.RESOLVED, {0: records[2:]})
    await worker.bus.publish(topics.RESOLVED, {0: [splice(touchpoint(6), "identity_worker", (0, 6), 6)]})
    await worker.bus.publish(topics.RESOLVED, {0: [splice(touchpoint(7), "another", (0, 7), 1)]})
    worker.run(Stage("profile_worker", (topics.RESOLVED,), seen.handle))
    await world.reached("profile_worker", topics.RESOLVED, 0, 10)
    assert seen.numbers() == [1, 2, 3, 4, 5, 6, 7]


async def test_what_is_seen_is_kept_across_restarts(world: World) -> None:
    worker, seen = await world.worker(), Seen()
    record = splice(touchpoint(1), "identity_worker", (0, 1), 1)
    await worker.bus.publish(topics.RESOLVED, {0: [record]})
    worker.run(Stage("profile_worker", (topics.RESOLVED,), seen.handle))
    await eventually(lambda: len(seen.records) == 1)
    await worker.end()
    again = await world.worker()
    await again.bus.publish(topics.RESOLVED, {0: [record]})
    again.run(Stage("profile_worker", (topics.RESOLVED,), seen.handle))
    await world.reached("profile_worker", topics.RESOLVED, 0, 2)
    assert len(seen.records) == 1


async def test_a_worker_killed_at_any_point_leaves_every_effect_once(world: World) -> None:
    await world.pool.execute(STATE)
    writer = await world.worker()
    for n in range(0, 300, 10):
        await writer.bus.publish(topics.ACCEPTED, {n // 10 % 2: [touchpoint(n + k) for k in range(10)]})
    stage = Stage("identity_worker", (topics.ACCEPTED,), remember, max_records=10)
    for _ in range(2):
        killed = await world.worker()
        before = len(await kept(world))
        killed.run(stage)

        async def moved(before: int = before) -> bool:
            return len(await kept(world)) > before
        await eventually(moved, 30)
        await killed.vanish()
        world.workers.remove(killed)
    seen, last = Seen(), await world.worker()
    last.run(stage)
    last.run(Stage("profile_worker", (topics.RESOLVED,), seen.handle))
    await eventually(lambda: len(seen.records) >= 300, 40)
    assert await kept(world) == list(range(300))
    assert sorted(seen.numbers()) == list(range(300))


async def test_a_poison_record_is_set_aside_alone_and_the_rest_goes_on(world: World) -> None:
    await world.pool.execute(STATE)

    async def picky(batch: Batch, tx: Tx) -> None:
        if any(number_of(record.value) == 137 for record in batch.records):
            raise ValueError("a value that must not be told")
        await remember(batch, tx)

    worker, refused, resolved = await world.worker(), Seen(), Seen()
    await worker.bus.publish(topics.ACCEPTED, {0: [touchpoint(n) for n in range(500)]})
    worker.run(Stage("identity_worker", (topics.ACCEPTED,), picky))
    worker.run(Stage("quarantine", (topics.REFUSED,), refused.handle))
    worker.run(Stage("profile_worker", (topics.RESOLVED,), resolved.handle))
    await eventually(lambda: len(refused.records) == 1 and len(resolved.records) == 499, 8)
    assert await kept(world) == [n for n in range(500) if n != 137]
    assert resolved.numbers() == [n for n in range(500) if n != 137]
    told = topics.REFUSED_DECODER.decode(refused.records[0][3])
    assert (told.at_stage, told.reason, told.source, told.origin) == ("identity_worker", "poison", "shop", (0, 137))
    assert "must not be told" not in told.detail
    import base64
    assert base64.b64decode(told.body_base64) == touchpoint(137)
    counted = await world.pool.fetchrow("SELECT source, stage, outcome, n FROM bus.accounting")
    assert tuple(counted) == ("shop", "identity_worker", "set_aside", 1)


async def test_a_poison_record_named_by_the_handler_keeps_its_reason(world: World) -> None:
    async def picky(batch: Batch, tx: Tx) -> None:
        for record in batch.records:
            if number_of(record.value) in (3, 5):
                raise PoisonRecord(record.position, "too_deep", "nested 300 levels")
        await remember(batch, tx)

    await world.pool.execute(STATE)
    worker, refused = await world.worker(), Seen()
    await worker.bus.publish(topics.ACCEPTED, {0: [touchpoint(n) for n in range(10)]})
    worker.run(Stage("identity_worker", (topics.ACCEPTED,), picky))
    worker.run(Stage("quarantine", (topics.REFUSED,), refused.handle))
    await eventually(lambda: len(refused.records) == 2)
    assert [topics.REFUSED_DECODER.decode(record[3]).reason for record in refused.records] == ["too_deep"] * 2
    await world.reached("identity_worker", topics.ACCEPTED, 0, 10)
    assert await kept(world) == [0, 1, 2, 4, 6, 7, 8, 9]


async def test_undecodable_bytes_are_set_aside_with_an_unknown_source(world: World) -> None:
    async def decode(batch: Batch, tx: Tx) -> None:
        for record in batch.records:
            msgspec.json.decode(record.value)

    worker, refused = await world.worker(), Seen()
    await worker.bus.publish(topics.ACCEPTED, {0: [touchpoint(1), b"\xff not json", touchpoint(2)]})
    worker.run(Stage("identity_worker", (topics.ACCEPTED,), decode))
    worker.run(Stage("quarantine", (topics.REFUSED,), refused.handle))
    await eventually(lambda: len(refused.records) == 1)
    assert topics.REFUSED_DECODER.decode(refused.records[0][3]).source is None
    assert await world.pool.fetchval("SELECT source FROM bus.accounting") == ""


async def test_a_fault_of_the_worker_itself_stops_it_instead_of_emptying_the_log(world: World) -> None:
    async def broken(batch: Batch, tx: Tx) -> None:
        raise KeyError("always")

    worker = await world.worker()
    await worker.bus.publish(topics.ACCEPTED, {0: [touchpoint(n) for n in range(100)]})
    running = worker.run(Stage("identity_worker", (topics.ACCEPTED,), broken))
    with pytest.raises(Stop, match="20 records in a row"):
        await running
    worker.running.clear()
    assert await world.position("identity_worker", topics.ACCEPTED, 0) == 19


async def test_stop_leaves_run_with_its_message_and_commits_nothing(world: World) -> None:
    async def halts(batch: Batch, tx: Tx) -> None:
        raise Stop("going on would do harm")

    worker = await world.worker()
    await worker.bus.publish(topics.ACCEPTED, {0: [touchpoint(1)]})
    running = worker.run(Stage("identity_worker", (topics.ACCEPTED,), halts))
    with pytest.raises(Stop, match="going on would do harm"):
        await running
    worker.running.clear()
    assert await world.position("identity_worker", topics.ACCEPTED, 0) == 0


@pytest.mark.parametrize("error", [
    asyncpg.DeadlockDetectedError("deadlock"), asyncpg.SerializationError("again"), asyncpg.DiskFullError("full"),
    asyncpg.TooManyConnectionsError("many"), ConnectionResetError("gone")], ids=lambda error: type(error).__name__)
async def test_what_passes_by_itself_is_tried_again_and_shown(world: World, error: Exception) -> None:
    await world.pool.execute(STATE)
    attempts = 0

    async def sometimes(batch: Batch, tx: Tx) -> None:
        nonlocal attempts
        attempts += 1
        if attempts < 4:
            raise error
        await remember(batch, tx)

    worker = await world.worker()
    await worker.bus.publish(topics.ACCEPTED, {0: [touchpoint(1)]})
    worker.run(Stage("identity_worker", (topics.ACCEPTED,), sometimes))
    await eventually(lambda: attempts == 3 and "waiting" in str(worker.bus.trouble))
    await eventually(lambda: attempts == 4)
    await eventually(lambda: not worker.bus.trouble)
    assert await kept(world) == [1]


async def test_a_connection_cut_in_the_middle_of_a_unit_of_work_costs_nothing(world: World) -> None:
    await world.pool.execute(STATE)
    attempts = 0

    async def cut(batch: Batch, tx: Tx) -> None:
        nonlocal attempts
        attempts += 1
        await remember(batch, tx)
        if attempts == 1:
            await world.pool.execute("SELECT pg_terminate_backend($1)", tx.connection.get_server_pid())
            await tx.connection.execute("SELECT 1")

    worker = await world.worker()
    await worker.bus.publish(topics.ACCEPTED, {0: [touchpoint(n) for n in range(5)]})
    worker.run(Stage("identity_worker", (topics.ACCEPTED,), cut))
    await eventually(lambda: world.pool.fetchval("SELECT count(*) = 5 FROM state"))
    assert attempts == 2
    assert await world.position("identity_worker", topics.ACCEPTED, 0) == 5


async def test_a_handler_that_swallows_an_sql_error_does_not_lose_its_batch_in_silence(world: World) -> None:
    async def careless(batch: Batch, tx: Tx) -> None:
        try:
            await tx.connection.execute("SELECT 1/0")
        except asyncpg.DivisionByZeroError:
            return

    worker, refused = await world.worker(), Seen()
    await worker.bus.publish(topics.ACCEPTED, {0: [touchpoint(1)]})
    worker.run(Stage("identity_worker", (topics.ACCEPTED,), careless))
    worker.run(Stage("quarantine", (topics.REFUSED,), refused.handle))
    await eventually(lambda: len(refused.records) == 1)


async def test_callbacks_run_after_the_commit_and_never_after_a_rollback(world: World) -> None:
    calls: list[str] = []
    attempts = 0

    async def handle(batch: Batch, tx: Tx) -> None:
        nonlocal attempts
        attempts += 1
        tx.after_commit(lambda number=attempts: calls.append(f"attempt {number}"))  # type: ignore[misc]  # a lambda
        if attempts == 1:
            raise ConnectionResetError

    worker = await world.worker()
    await worker.bus.publish(topics.ACCEPTED, {0: [touchpoint(1)]})
    worker.run(Stage("identity_worker", (topics.ACCEPTED,), handle))
    await eventually(lambda: calls)
    assert calls == ["attempt 2"]


async def test_slow_batches_get_smaller_so_that_no_transaction_lasts_over_a_second(world: World) -> None:
    sizes: list[int] = []

    async def slow(batch: Batch, tx: Tx) -> None:
        sizes.append(len(batch.records))
        await asyncio.sleep(0.001 * len(batch.records))

    worker = await world.worker()
    await worker.bus.publish(topics.ACCEPTED, {0: [touchpoint(n) for n in range(3000)]})
    worker.run(Stage("identity_worker", (topics.ACCEPTED,), slow))
    await eventually(lambda: sum(sizes) == 3000)
    assert sizes[0] == 1000
    assert max(sizes[2:]) < 500


async def test_ticks_write_state_and_outputs_and_are_called_again_while_there_is_more(world: World) -> None:
    await world.pool.execute(STATE)
    calls = 0

    async def nothing(batch: Batch, tx: Tx) -> None:
        raise AssertionError

    async def tick(tx: Tx) -> bool:
        nonlocal calls
        calls += 1
        if calls > 20:
            return False
        await tx.connection.execute("INSERT INTO state VALUES (0, $1)", calls)
        tx.publish(topics.FOLDED, touchpoint(calls), origin=(-1, -1), partition=calls % 3)
        return True

    worker, seen = await world.worker(), Seen()
    worker.run(Stage("delivery_worker", (), nothing, tick=tick, tick_seconds=0.5))
    worker.run(Stage("orchestrator_worker", (topics.FOLDED,), seen.handle))
    await eventually(lambda: len(seen.records) == 20)
    assert sorted(seen.numbers()) == list(range(1, 21))
    assert await kept(world) == list(range(1, 21))


async def test_a_tick_that_fails_for_a_passing_reason_is_tried_again(world: World) -> None:
    calls: list[Any] = []

    async def tick(tx: Tx) -> bool:
        calls.append(tx.now_ms)
        if len(calls) < 3:
            raise asyncpg.DeadlockDetectedError("deadlock")
        tx.publish(topics.FOLDED, touchpoint(1), origin=(-1, -1), partition=0)
        return False

    async def nothing(batch: Batch, tx: Tx) -> None:
        raise AssertionError

    worker, seen = await world.worker(), Seen()
    worker.run(Stage("delivery_worker", (), nothing, tick=tick, tick_seconds=30))
    worker.run(Stage("orchestrator_worker", (topics.FOLDED,), seen.handle))
    await eventually(lambda: len(seen.records) == 1)
    assert len(calls) == 3


async def test_ticks_of_two_processes_never_write_under_one_name(world: World) -> None:
    async def nothing(batch: Batch, tx: Tx) -> None:
        raise AssertionError

    async def tick(tx: Tx) -> bool:
        tx.publish(topics.FOLDED, touchpoint(1), origin=(-1, -1), partition=0)
        return False

    one, two, seen = await world.worker(), await world.worker(), Seen()
    stage = Stage("delivery_worker", (), nothing, tick=tick, tick_seconds=0.02)
    one.run(stage)
    two.run(stage)
    one.run(Stage("orchestrator_worker", (topics.FOLDED,), seen.handle))
    await eventually(lambda: len(seen.records) > 40)
    headers = [topics.HEADER_DECODER.decode(value) for _, _, _, value in seen.records]
    for stage_name in {header.stage for header in headers}:
        seqs = [header.seq for header in headers if header.stage == stage_name]
        assert seqs == list(range(1, len(seqs) + 1))
    assert len({header.stage for header in headers}) == 2


@pytest.mark.parametrize("world", ["embedded"], indirect=True)
async def test_a_batch_that_is_too_slow_for_the_server_comes_through_in_halves(world: World) -> None:
    await world.pool.execute(STATE)
    sizes: list[int] = []

    async def heavy(batch: Batch, tx: Tx) -> None:
        sizes.append(len(batch.records))
        if len(batch.records) > 2:
            await asyncio.sleep(3.1)
            raise asyncpg.IdleInTransactionSessionTimeoutError("silent for too long")
        await remember(batch, tx)

    worker = await world.worker()
    await worker.bus.publish(topics.ACCEPTED, {0: [touchpoint(n) for n in range(4)]})
    worker.run(Stage("identity_worker", (topics.ACCEPTED,), heavy))
    await world.reached("identity_worker", topics.ACCEPTED, 0, 4)
    assert await kept(world) == [0, 1, 2, 3]
    assert sizes == [4, 2, 2]
