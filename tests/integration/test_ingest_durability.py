"""The answer is a promise: what is said yes to is durable, what is refused can be looked at."""

import asyncio
import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from ingest_world import BASIC, World, ingest_world, make_sources
from percorso_ingest.stores import STORES
from percorso_services.ingest_api import process
from percorso_services.ingest_api.read_body import NoRoom
from percorso_shared.bus.port import BusUnavailable
from percorso_shared.bus.receipts import decode_receipt
from percorso_shared.stores import Subject
from percorso_shared.topics import ACCEPTED

PING = {"userId": "u-1", "event": "Ping", "type": "track"}
DAY = 86_400_000


@pytest.fixture
async def world(pool: Any) -> Any:
    await make_sources(pool)
    async with ingest_world(pool) as made:
        yield made


async def test_an_unreadable_body_is_one_record_with_its_bytes(world: World) -> None:
    answer = await world.post("/v1/batch", b"{not json \xff")
    assert answer.status_code == 400
    [row] = await world.quarantine(1)
    assert (bytes(row["body"]), row["reason"], row["readable"]) == (b"{not json \xff", "unreadable", False)


async def test_a_single_bad_event_is_a_4xx_and_one_record(world: World) -> None:
    answer = await world.post("/v1/track", {"userId": "u"})
    assert (answer.status_code, answer.json()["code"]) == (400, "name_missing")
    [row] = await world.quarantine(1)
    assert (row["reason"], row["identifiers"], row["size"]) == ("name_missing", ["user_id:u"], len('{"userId":"u"}'))
    assert await world.accepted() == []


async def test_a_batch_of_bad_events_is_200_and_a_record_each(world: World) -> None:
    answer = await world.post("/v1/batch", {"batch": [{"bad": n} for n in range(100)]})
    assert answer.status_code == 200
    rows = await world.quarantine(100)
    assert sorted(json.loads(row["body"])["bad"] for row in rows) == list(range(100))


@pytest.mark.parametrize(("body", "status", "reason"), [
    (b"[]", 400, "wrong_shape"), (b'{"batch":[]}', 400, "no_events"), (b"{}", 400, "wrong_shape"),
    (b"", 400, "unreadable"),
    (b'{"batch":{}}', 400, "wrong_shape"), (b'{"batch":[1,]}', 400, "unreadable"),
    (b'{"batch":[' + b"{}," * 2_500 + b"{}]}", 413, "too_many_events"),
    (b'{"batch":[{"x":"' + b"a" * 512_000 + b'"}]}', 413, "too_large"),
    (gzip.compress(b'{"batch":[{"x":"' + b"a" * 20_000_000 + b'"}]}'), 413, "too_large"),
    (gzip.compress(b'{"batch":[]}')[:-9], 400, "unreadable"), (b"\x1f\x8bnonsense", 400, "unreadable"),
    (b'{"batch":' + b"[" * 100_000, 400, "too_deep")], ids=lambda value: repr(value)[:20])
async def test_a_request_that_cannot_be_read_is_one_record(world: World, body: bytes, status: int, reason: str) -> None:
    answer = await world.post("/v1/batch", body)
    assert (answer.status_code, answer.json()["code"]) == (status, reason)
    [row] = await world.quarantine(1)
    assert row["reason"] == reason
    assert body.startswith(bytes(row["body"]))


async def test_a_person_gets_a_copy_of_their_refusals_and_can_have_them_erased(world: World) -> None:
    await world.post("/v1/track", {"userId": "U-1", "properties": {"n": 1}})
    await world.post("/v1/batch", {"batch": [
        {"type": "identify", "userId": ["x"], "traits": {"email": "Ada@Example.com", "phone": "+39 333 1"}},
        {"type": "track", "userId": "u-2"}, {"type": "track", "context": {"device": {"id": "D"}}}]})
    await world.quarantine(4)
    subject = Subject(workspace=1, profiles=(), atoms=(), links=(), identifiers=(
        ("user_id", "u-1"), ("email", "ada@example.com"), ("device_id", "D")))
    [store] = STORES
    async with world.pool.acquire() as connection, connection.transaction():
        copies = await store.export(connection, subject)
        assert {copy["reason"] for copy in copies} == {"name_missing", "identifier_unreadable"}
        assert json.loads(copies[0]["body"])["userId"] == "U-1"
        assert await store.erase(connection, subject) == 3
        assert await store.erase(connection, subject) == 0
    [left] = await world.quarantine(1)
    assert left["identifiers"] == ["user_id:u-2"]
    assert await world.pool.fetchval("SELECT bytes FROM ingest.quarantine_size WHERE workspace_id = 1") == left["size"]


async def test_deflate_is_read_in_both_of_its_forms(world: World) -> None:
    body = json.dumps(PING).encode()
    bare = zlib.compressobj(wbits=-15)
    for packed in (zlib.compress(body), bare.compress(body) + bare.flush()):
        answer = await world.post("/v1/track", packed, BASIC | {"content-encoding": "deflate"})
        assert answer.status_code == 200


async def test_a_receipt_says_where_the_last_records_landed(world: World) -> None:
    events = [PING | {"userId": f"u-{n}"} for n in range(50)]
    answer = await world.post("/v1/batch", {"batch": events}, BASIC | {"percorso-receipt": "want"})
    receipt = decode_receipt(answer.headers["percorso-receipt"])
    rows = await world.pool.fetch(
        "SELECT partition, max(first + count - 1) AS last FROM bus.log WHERE topic = $1 GROUP BY partition", ACCEPTED)
    assert receipt == {row["partition"]: row["last"] for row in rows}
    assert set(receipt) <= set(range(world.bus.ingest_partitions))
    assert "percorso-receipt" not in (await world.post("/v1/track", PING)).headers


async def test_one_visitors_touchpoints_keep_their_order(world: World) -> None:
    events = [{"type": "track", "event": f"e{n}", "anonymousId": f"a-{n % 7}", "messageId": str(n)} for n in range(200)]
    for start in range(0, 200, 50):
        await world.post("/v1/batch", {"batch": events[start:start + 50]})
    seen: dict[str, list[int]] = {}
    for record in await world.accepted():
        seen.setdefault(record["identifiers"][0][1], []).append(int(record["message_id"]))
    assert all(numbers == sorted(numbers) for numbers in seen.values())
    assert sum(map(len, seen.values())) == 200


class Broken:
    """The real bus, behind a broker that is away."""

    def __init__(self, bus: Any) -> None:
        self._bus, self.away = bus, True
        self.reached = asyncio.Event()
        self.gate = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    async def publish(self, topic: str, values: Mapping[int, Sequence[bytes]]) -> dict[int, int]:
        if self.away:
            raise BusUnavailable("the broker is away")
        self.reached.set()
        await self.gate.wait()
        first: dict[int, int] = await self._bus.publish(topic, values)
        return first


async def test_while_the_bus_is_away_the_answer_is_503_and_a_second_try_works(world: World) -> None:
    bus = Broken(world.bus)
    world.parts.intake._bus = bus
    answer = await world.post("/v1/batch", {"batch": [PING, {"bad": 1}]})
    assert (answer.status_code, answer.json().keys()) == (503, {"code", "message"})
    assert answer.headers["retry-after"].isdigit()
    bus.away = False
    bus.gate.set()
    assert (await world.post("/v1/batch", {"batch": [PING, {"bad": 1}]})).status_code == 200
    assert len(await world.accepted()) == 1


async def test_nothing_is_answered_before_it_is_durable(world: World) -> None:
    bus = Broken(world.bus)
    bus.away = False
    world.parts.intake._bus = bus
    asking = asyncio.create_task(world.post("/v1/track", PING))
    await asyncio.wait_for(bus.reached.wait(), 5)
    assert not asking.done()
    bus.gate.set()
    assert (await asking).status_code == 200


async def test_beyond_the_bytes_in_flight_the_answer_is_503(world: World) -> None:
    bus = Broken(world.bus)
    bus.away = False
    world.parts.intake._bus = bus
    world.parts.in_flight.limit = 1_000
    first = asyncio.create_task(world.post("/v1/track", PING | {"properties": {"x": "a" * 900}}))
    await asyncio.wait_for(bus.reached.wait(), 5)
    answer = await world.post("/v1/track", PING | {"properties": {"x": "a" * 900}})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    bus.gate.set()
    assert (await first).status_code == 200
    assert world.parts.in_flight.bytes == 0
    assert (await world.post("/v1/track", PING)).status_code == 200
    assert issubclass(NoRoom, Exception)


async def test_accepted_and_refused_are_in_the_accounting(world: World) -> None:
    await world.post("/v1/batch", {"batch": [PING, PING, {"bad": 1}]})
    await world.post("/v1/track", b"{")
    await world.parts.counters.flush(world.pool, world.context.clock)
    rows = await world.pool.fetch(
        "SELECT outcome, sum(n)::int AS n FROM bus.accounting WHERE workspace_id = 1 AND source = 'website' "
        "AND stage = 'ingest_api' AND outcome IN ('accepted', 'refused') GROUP BY outcome ORDER BY outcome")
    assert [tuple(row) for row in rows] == [("accepted", 2), ("refused", 2)]


async def test_beyond_its_cap_the_quarantine_counts_and_keeps_every_thousandth(pool: Any) -> None:
    await make_sources(pool)
    async with ingest_world(pool, quarantine_max_bytes=100) as world:
        for _ in range(2):
            await world.post("/v1/batch", {"batch": [{"bad": 1}] * 1_200})
        async with asyncio.timeout(10):
            while await pool.fetchval(  # noqa: ASYNC110  # the database does not tell
                    "SELECT coalesce(sum(refused), 0) FROM ingest.quarantine_counts WHERE workspace_id = 1") < 2_400:
                await asyncio.sleep(0.01)
        counts = await pool.fetchrow("SELECT * FROM ingest.quarantine_counts WHERE workspace_id = 1")
        rows = await world.quarantine(1)
    # 11 fit below the cap of 100 bytes, and of the 2,389 beyond it the 1st, the 1,001st and the 2,001st are kept.
    assert (counts["refused"], counts["not_kept"], len(rows)) == (2_400, 2_389, 11 + 3)


async def test_unreadable_originals_expire_and_readable_ones_wait_for_repair(world: World) -> None:
    await world.post("/v1/track", b"{not json")
    await world.post("/v1/track", {"userId": "u"})
    await world.quarantine(2)
    assert await process.expire(world.context) == 0
    world.context.clock.advance(15 * DAY)  # type: ignore[attr-defined]
    assert await process.expire(world.context) == 1
    assert [row["reason"] for row in await world.quarantine(1)] == ["name_missing"]
    assert await world.pool.fetchval("SELECT bytes FROM ingest.quarantine_size WHERE workspace_id = 1") == 14
