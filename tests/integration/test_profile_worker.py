"""Batches through the handler of profile_worker, on the real database."""

import asyncio
from datetime import datetime
from typing import Any

import asyncpg
import msgspec
import pytest

from identity_rows import IdentityRows
from percorso_profile.partitions import Month
from percorso_profile.views import profile_of
from percorso_services.profile_worker.worker import ProfileWorker
from percorso_shared.bus.port import Batch, PoisonRecord, Record, Stop
from percorso_shared.clock import to_datetime
from percorso_shared.history import scan
from percorso_shared.topics import FOLDED, RESOLVED
from recording_tx import RecordingTx
from touchpoints import NOON, accepted, moves_batch, resolved, resolved_batch


async def handle(pool: asyncpg.Pool, batch: Batch, worker: ProfileWorker | None = None) -> list[dict[str, Any]]:
    async with pool.acquire() as connection, connection.transaction():
        tx = RecordingTx(connection, NOON + 5000)
        await (worker or ProfileWorker()).handle(batch, tx)
    tx.run_after_commit()
    return tx.of(FOLDED)


async def document(pool: asyncpg.Pool, profile: bytes) -> dict[str, Any] | None:
    row = await pool.fetchrow(
        "SELECT version, traits, consent, account FROM profile.people WHERE workspace_id = 1 AND profile_id = $1",
        profile)
    return dict(row) | {key: msgspec.json.decode(row[key]) for key in ("traits", "consent")} if row else None


async def waits_for_a_lock(pool: asyncpg.Pool) -> None:
    async with asyncio.timeout(10):
        while not await pool.fetchval(  # noqa: ASYNC110
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE datname = current_database() AND wait_event_type = 'Lock'"):
            await asyncio.sleep(0)


@pytest.fixture
async def identity(pool: asyncpg.Pool):
    async with pool.acquire() as connection:
        yield IdentityRows(connection)


async def test_a_touchpoint_is_in_history_and_goes_on_with_its_person(pool, identity):
    link = await identity.link("user_id:ada", "anonymous_id:a1")
    ada = identity.atom("user_id:ada")
    touchpoint = accepted("Order Completed", timestamp=NOON, properties={"total": 3})
    folded = await handle(pool, resolved_batch(resolved(touchpoint, link, ada, origin=(0, 41))))
    assert [(f["kind"], f["profile"], f["version"], f["origin"]) for f in folded] == [
        ("touchpoint", ada.hex(), 1, [0, 41])]
    assert folded[0]["touchpoint"] == touchpoint
    past = await scan(pool, 1, [ada], ["order_completed"], NOON, NOON + 1)
    assert [msgspec.json.decode(p.touchpoint) for p in past] == [touchpoint]
    assert await scan(pool, 1, [ada], ["order_completed"], NOON + 1, None) == []


async def test_traits_change_version_and_say_what_changed(pool, identity):
    link, ada = await identity.link("user_id:ada"), identity.atom("user_id:ada")

    def said(at: int, **traits: Any) -> dict[str, Any]:
        return resolved(accepted("identified", type="identify", timestamp=at, traits=traits), link, ada)

    folded = await handle(pool, resolved_batch(
        said(NOON, plan="free", city="Oslo"), said(NOON + 2, plan="pro"), said(NOON + 1, plan="team"),
        said(NOON + 3, plan="pro")))
    assert [f["version"] for f in folded] == [1, 2, 2, 2]
    assert [f.get("changed", {}) for f in folded] == [{"plan": "free", "city": "Oslo"}, {"plan": "pro"}, {}, {}]
    assert await document(pool, ada) == {
        "version": 2, "traits": {"plan": "pro", "city": "Oslo"}, "consent": {}, "account": None}


async def test_an_old_value_that_was_said_again_holds_against_a_late_other_one(pool, identity):
    link, ada = await identity.link("user_id:ada"), identity.atom("user_id:ada")
    for at, plan in ((NOON, "free"), (NOON + 9, "free"), (NOON + 5, "pro")):
        await handle(pool, resolved_batch(
            resolved(accepted("identified", type="identify", timestamp=at, traits={"plan": plan}), link, ada)))
    found = await document(pool, ada)
    assert found is not None
    assert (found["traits"], found["version"]) == ({"plan": "free"}, 1)


async def test_counters_count_by_canonical_name_across_batches(pool, identity):
    link, ada = await identity.link("user_id:ada"), identity.atom("user_id:ada")
    for at in (NOON, NOON - 7, NOON + 7):
        await handle(pool, resolved_batch(
            resolved(accepted("Cart Viewed", timestamp=at), link, ada), resolved(accepted("page_view"), link, ada)))
    rows = await pool.fetch("SELECT canonical_name, touchpoints, first_seen, last_seen FROM profile.counter "
                            "WHERE workspace_id = 1 ORDER BY canonical_name")
    assert [tuple(row) for row in rows] == [
        ("cart_viewed", 3, to_datetime(NOON - 7), to_datetime(NOON + 7)),
        ("page_view", 3, to_datetime(NOON), to_datetime(NOON))]


async def test_a_touchpoint_of_nobody_is_kept_and_goes_on(pool):
    folded = await handle(pool, resolved_batch(resolved(accepted("page_view"))))
    assert [(f["link"], f["home"], f["profile"], f["version"]) for f in folded] == [(None, None, None, 0)]
    assert await pool.fetchval("SELECT count(*) FROM profile.events WHERE workspace_id = 1 AND link_id IS NULL") == 1


async def test_a_merge_folds_the_documents_into_one_without_touching_history(pool, identity):
    visitor, contact = await identity.link("anonymous_id:a1"), await identity.link("email:ada@example.com")
    a1, ada = identity.atom("anonymous_id:a1"), identity.atom("email:ada@example.com")
    await handle(pool, resolved_batch(
        resolved(accepted("page_view", set_once={"first_page": "/"}), visitor, a1),
        resolved(accepted("identified", type="identify", traits={"name": "Ada"}), contact, ada)))
    before = await pool.fetch("SELECT ctid, tableoid, link_id FROM profile.event WHERE workspace_id = 1")
    moves = await identity.point(["anonymous_id:a1"], "email:ada@example.com")
    folded = await handle(pool, moves_batch(moves))
    assert [(f["kind"], f["moves"]) for f in folded] == [("moved", [list(move) for move in moves])]
    assert await document(pool, a1) is None
    assert await document(pool, ada) == {
        "version": 2, "traits": {"first_page": "/", "name": "Ada"}, "consent": {}, "account": None}
    assert await pool.fetch("SELECT ctid, tableoid, link_id FROM profile.event WHERE workspace_id = 1") == before
    assert len(await scan(pool, 1, [ada])) == 2


async def test_a_split_gives_each_what_was_said_of_them(pool, identity):
    await identity.link("user_id:u", profile="user_id:u")
    visitor = await identity.link("anonymous_id:a1", profile="user_id:u")
    contact = await identity.link("user_id:u", "email:u@example.com", profile="user_id:u")
    a1, user = identity.atom("anonymous_id:a1"), identity.atom("user_id:u")
    await handle(pool, resolved_batch(
        resolved(accepted("identified", type="identify", traits={"city": "Rome"}), visitor, a1, profile=user),
        resolved(accepted("identified", type="identify", traits={"name": "U"}), contact, user)))
    await handle(pool, moves_batch(await identity.point(["anonymous_id:a1"], "anonymous_id:a1")))
    mine, theirs = await document(pool, user), await document(pool, a1)
    assert mine is not None
    assert theirs is not None
    assert (mine["traits"], theirs["traits"]) == ({"name": "U"}, {"city": "Rome"})
    assert mine["version"] == theirs["version"] == 3


async def test_a_fold_that_runs_beside_a_merge_is_in_the_merged_document(pool, identity):
    visitor, contact = await identity.link("anonymous_id:a1"), await identity.link("email:ada@example.com")
    a1, ada = identity.atom("anonymous_id:a1"), identity.atom("email:ada@example.com")

    def said(link: bytes, home: bytes, **traits: Any) -> Batch:
        return resolved_batch(resolved(accepted("identified", type="identify", traits=traits), link, home))

    await handle(pool, said(visitor, a1, a=1))
    await handle(pool, said(contact, ada, b=2))
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        slow = RecordingTx(connection, NOON)
        await ProfileWorker().handle(said(visitor, a1, late=3), slow)
        moves = await identity.point(["anonymous_id:a1"], "email:ada@example.com")
        merging = asyncio.create_task(handle(pool, moves_batch(moves)))
        await waits_for_a_lock(pool)
        await transaction.commit()
    await merging
    found = await document(pool, ada)
    assert found is not None
    assert found["traits"] == {"a": 1, "b": 2, "late": 3}
    assert await pool.fetchval("SELECT count(*) FROM profile.profile WHERE workspace_id = 1") == 1


async def test_a_fold_that_waited_for_a_merge_goes_to_the_merged_person(pool, identity):
    visitor, contact = await identity.link("anonymous_id:a1"), await identity.link("email:ada@example.com")
    a1, ada = identity.atom("anonymous_id:a1"), identity.atom("email:ada@example.com")
    await handle(pool, resolved_batch(resolved(accepted("page_view"), visitor, a1), resolved(accepted(), contact, ada)))
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(
            "SELECT FROM profile.profile WHERE workspace_id = 1 AND profile_id = $1 FOR UPDATE", a1)
        folding = asyncio.create_task(handle(pool, resolved_batch(
            resolved(accepted("identified", type="identify", traits={"late": 3}), visitor, a1))))
        await waits_for_a_lock(pool)
        moves = await identity.point(["anonymous_id:a1"], "email:ada@example.com")
        await ProfileWorker().handle(moves_batch(moves), RecordingTx(connection, NOON))
        await transaction.commit()
    assert [f["profile"] for f in await folding] == [ada.hex()]
    found = await document(pool, ada)
    assert found is not None
    assert found["traits"] == {"late": 3}
    assert await pool.fetchval("SELECT count(*) FROM profile.profile WHERE workspace_id = 1") == 1


async def test_touchpoints_of_a_shared_device_are_the_slices_owner_s(pool, identity):
    for user in ("kevin", "nora"):
        await identity.link(f"user_id:{user}", "device_id:tab")
    tablet = await identity.link("device_id:tab", profile="user_id:kevin")
    kevin, nora, device = (identity.atom(i) for i in ("user_id:kevin", "user_id:nora", "device_id:tab"))
    await identity.slice("device_id:tab", None, "user_id:kevin")
    await identity.slice("device_id:tab", to_datetime(NOON), "user_id:nora")
    folded = await handle(pool, resolved_batch(
        resolved(accepted("page_view", timestamp=NOON - 1), tablet, device, profile=kevin, slice=kevin),
        resolved(accepted("identified", type="identify", traits={"size": 38}), tablet, device, profile=nora,
                 slice=nora)))
    assert [(f["profile"], f["home"]) for f in folded] == [(kevin.hex(), kevin.hex()), (nora.hex(), nora.hex())]
    assert [len(await scan(pool, 1, [person])) for person in (kevin, nora)] == [1, 1]
    found = await document(pool, nora)
    assert found is not None
    assert found["traits"] == {"size": 38}


async def test_a_late_login_gives_its_interval_to_another_owner(pool, identity):
    for user in ("kevin", "nora"):
        await identity.link(f"user_id:{user}", "device_id:tab")
    tablet = await identity.link("device_id:tab", profile="user_id:kevin")
    kevin, nora, device = (identity.atom(i) for i in ("user_id:kevin", "user_id:nora", "device_id:tab"))
    await handle(pool, resolved_batch(*(
        resolved(accepted("identified", type="identify", timestamp=NOON + at, traits={"size": at}), tablet, device,
                 profile=kevin) for at in (10, 20, 30))))
    await identity.slice("device_id:tab", None, "user_id:kevin")
    await identity.slice("device_id:tab", to_datetime(NOON + 15), "user_id:nora")
    await identity.slice("device_id:tab", to_datetime(NOON + 25), None)
    await handle(pool, moves_batch([], recuts=[(device.hex(), NOON + 15, None)]))
    found = [await document(pool, person) for person in (kevin, nora)]
    assert [document["traits"] for document in found if document] == [{"size": 10}, {"size": 20}]
    folded = await handle(pool, resolved_batch(
        resolved(accepted(timestamp=NOON + 21), tablet, device, profile=kevin, slice=kevin),
        resolved(accepted(timestamp=NOON + 31), tablet, device, profile=kevin, slice=kevin)))
    assert [f["profile"] for f in folded] == [nora.hex(), None]
    async with pool.acquire() as connection:
        people = [await profile_of(connection, 1, person) for person in (kevin, nora)]
    assert [person.touchpoints for person in people] == [1, 2]
    assert [len(await scan(pool, 1, [person])) for person in (kevin, nora)] == [1, 2]


async def test_slices_that_are_given_up_leave_everything_to_the_devices_person(pool, identity):
    for user in ("kevin", "nora"):
        await identity.link(f"user_id:{user}", "device_id:tab")
    tablet = await identity.link("device_id:tab", profile="user_id:kevin")
    kevin, nora, device = (identity.atom(i) for i in ("user_id:kevin", "user_id:nora", "device_id:tab"))
    await identity.slice("device_id:tab", None, "user_id:nora")
    await handle(pool, resolved_batch(
        resolved(accepted("identified", type="identify", traits={"size": 1}), tablet, device, slice=nora)))
    await pool.execute("DELETE FROM identity.slice WHERE workspace_id = 1")
    await handle(pool, moves_batch([], recuts=[(device.hex(), None, None)]))
    assert await document(pool, nora) is None
    found = await document(pool, kevin)
    assert found is not None
    assert found["traits"] == {"size": 1}


async def test_old_and_present_touchpoints_find_a_partition(pool, identity):
    link, ada, worker = await identity.link("user_id:ada"), identity.atom("user_id:ada"), ProfileWorker()
    instants = [datetime.fromisoformat(day).timestamp() for day in
                ("1969-07-20T20:17:00+00:00", "1999-12-31T23:59:59+00:00", "2000-01-01T00:00:00+00:00",
                 "2016-02-29T12:00:00+00:00", "2026-12-31T23:59:59+00:00", "2031-01-01T00:00:00+00:00")]
    for _ in range(2):
        await handle(pool, resolved_batch(*[
            resolved(accepted(timestamp=int(instant * 1000)), link, ada) for instant in instants]), worker)
    rows = await pool.fetch(
        "SELECT DISTINCT tableoid::regclass::text AS name FROM profile.event WHERE workspace_id = 1")
    assert {row["name"] for row in rows} == {"profile.event_before_2000"} | {
        f"profile.{Month(*month).table}" for month in ((2000, 1), (2016, 2), (2026, 12), (2031, 1))}
    assert len(await scan(pool, 1, [ada])) == 12


async def test_group_calls_build_accounts_and_give_people_theirs(pool, identity):
    link, ada = await identity.link("user_id:ada"), identity.atom("user_id:ada")
    await handle(pool, resolved_batch(
        resolved(accepted("grouped", type="group", account="acme", traits={"industry": "steel"}), link, ada),
        resolved(accepted("page_view", timestamp=NOON + 2, account="globex"), link, ada),
        resolved(accepted("page_view", timestamp=NOON + 1, account="acme"), link, ada)))
    found = await document(pool, ada)
    assert found is not None
    assert (found["account"], found["traits"]) == ("globex", {})
    accounts = await pool.fetch("SELECT account_id, traits FROM profile.accounts WHERE workspace_id = 1")
    assert [tuple(row) for row in accounts] == [("acme", '{"industry": "steel"}')]


async def test_consent_follows_the_newest_word_by_trait_or_touchpoint(pool, identity):
    link, ada = await identity.link("user_id:ada"), identity.atom("user_id:ada")
    await handle(pool, resolved_batch(
        resolved(accepted("identified", type="identify", traits={"consent": {"news": True, "ads": False}}), link, ada),
        resolved(accepted("consent_withdrawn", timestamp=NOON + 5, properties={"purpose": "news"}), link, ada),
        resolved(accepted("Consent Given", timestamp=NOON + 3, properties={"purpose": "news"}), link, ada)))
    found = await document(pool, ada)
    assert found is not None
    assert found["consent"] == {"news": False, "ads": False}
    assert found["traits"] == {"consent": {"news": False, "ads": False}}


async def test_workspaces_in_one_batch_never_meet(pool):
    people = []
    async with pool.acquire() as connection:
        await connection.execute("INSERT INTO console.workspace (workspace_id, name) VALUES (2, 'two')")
        for workspace in (1, 2):
            rows = IdentityRows(connection, workspace)
            people.append((workspace, await rows.link("user_id:u"), rows.atom("user_id:u")))
    await handle(pool, resolved_batch(*[
        resolved(accepted("identified", type="identify", workspace=workspace, traits={"w": workspace}), link, atom)
        for workspace, link, atom in people]))
    rows = await pool.fetch("SELECT workspace_id, traits FROM profile.people WHERE workspace_id IN (1, 2) ORDER BY 1")
    assert [tuple(row) for row in rows] == [(1, '{"w": 1}'), (2, '{"w": 2}')]


async def test_what_was_folded_is_accounted_by_source(pool):
    await handle(pool, resolved_batch(
        *(resolved(accepted(source=source)) for source in ("website", "backend", "website"))))
    rows = await pool.fetch(
        "SELECT source, stage, outcome, n FROM bus.accounting WHERE workspace_id = 1 ORDER BY source")
    assert [tuple(row) for row in rows] == [
        ("backend", "profile_worker", "resolved", 1), ("website", "profile_worker", "resolved", 2)]


@pytest.mark.parametrize("broken", [b"{}", b"not json", b'{"schema":1}'])
async def test_an_unreadable_record_is_named_by_its_position(pool, broken):
    batch = Batch(RESOLVED, 0, [Record(7, broken)])
    with pytest.raises(PoisonRecord) as caught:
        await handle(pool, batch)
    assert caught.value.position == 7


async def test_a_touchpoint_whose_traits_are_no_object_is_named_by_its_position(pool, identity):
    link, ada = await identity.link("user_id:ada"), identity.atom("user_id:ada")
    with pytest.raises(PoisonRecord) as caught:
        await handle(pool, resolved_batch(
            resolved(accepted(), link, ada), resolved(accepted("identified", type="identify", traits=[1]), link, ada)))
    assert caught.value.position == 1


async def test_a_record_of_a_version_to_come_stops_the_process(pool):
    with pytest.raises(Stop):
        await handle(pool, Batch(RESOLVED, 0, [Record(7, b'{"schema":2}')]))
