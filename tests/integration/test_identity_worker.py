"""The identity worker: from accepted to resolved touchpoints, on a real database."""

import msgspec
import pytest

from identity_world import NOW, atom, handle, people, set_policy, touch
from percorso_identity.policy import Policy
from percorso_services.identity_worker.worker import IdentityWorker
from percorso_shared.bus.port import Batch, PoisonRecord, Record, Stop
from percorso_shared.topics import ACCEPTED, IDENTITY_CHANGED, RESOLVED
from recording_tx import RecordingTx

DAY = 86_400_000


@pytest.fixture
async def connection(pool):
    async with pool.acquire() as one:
        yield one


async def test_a_resolved_record_carries_the_touchpoint_unchanged_and_where_it_belongs(connection):
    value = touch("m1", "anonymous_id:c", "email:ada@x.com")
    tx = await handle(connection, IdentityWorker(), value)
    [(topic, partition, record)] = tx.published
    ada = atom("email:ada@x.com").hex()
    assert (topic, partition, record["origin"]) == (RESOLVED, None, [0, 0])
    assert record["touchpoint"] == msgspec.json.decode(value)
    assert (record["home"], record["profile"], record["slice"]) == (ada, ada, None)
    assert record["event_id"] == record["touchpoint"]["event_id"]


async def test_a_visitor_who_gives_an_email_keeps_the_whole_history_and_no_row_of_it_is_rewritten(connection):
    worker = IdentityWorker()
    await handle(connection, worker, *(touch(f"m{number}", "anonymous_id:c") for number in range(50)))
    before = await connection.fetch("SELECT ctid, * FROM identity.dedup ORDER BY event_id")
    tx = await handle(connection, worker, touch("signup", "anonymous_id:c", "email:ada@x.com"))
    after = await connection.fetch(
        "SELECT ctid, * FROM identity.dedup WHERE event_id = ANY($1) ORDER BY event_id",
        [row["event_id"] for row in before])
    assert before == after
    visitor, ada = atom("anonymous_id:c").hex(), atom("email:ada@x.com").hex()
    assert [record["moves"] for record in tx.of(IDENTITY_CHANGED)] == [[[visitor, visitor, ada]]]
    assert await people(connection) == [["anonymous_id:c", "email:ada@x.com"]]
    owners = await connection.fetch(
        """SELECT DISTINCT p.profile_id FROM identity.touchpoints t
           JOIN identity.links l ON l.workspace_id = t.workspace_id AND l.link_id = t.link_id
           JOIN identity.pointers p ON p.workspace_id = l.workspace_id AND p.atom_id = l.home""")
    assert [row["profile_id"] for row in owners] == [atom("email:ada@x.com")]


async def test_a_touchpoint_is_resolved_once_in_a_batch_in_a_later_one_and_on_another_day(connection):
    worker, other = IdentityWorker(), IdentityWorker()
    first, again = touch("m1", "user_id:a"), touch("m1", "user_id:a", received=NOW + 3 * DAY)
    published = [len((await handle(connection, one, *batch)).of(RESOLVED)) for one, batch in (
        (worker, (first, first)), (worker, (first,)), (other, (again, touch("m2", "user_id:a"))))]
    assert published == [1, 0, 1]


async def test_a_message_id_is_forgotten_after_eight_days_but_not_that_of_an_import(connection):
    worker = IdentityWorker()
    await handle(connection, worker, touch("m1", "user_id:a"), touch("m2", "user_id:a", flags=["imported"]))
    late = NOW + 9 * DAY
    tx = await handle(connection, worker, touch("m1", "user_id:a", received=late), touch("m2", received=late))
    assert [record["touchpoint"]["message_id"] for record in tx.of(RESOLVED)] == ["m1"]


async def test_what_became_of_touchpoints_is_accounted_by_source(connection):
    worker = IdentityWorker()
    await handle(connection, worker, touch("m1", "user_id:a"), touch("m1", "user_id:a"), touch("m2"))
    rows = await connection.fetch("SELECT source, stage, outcome, n FROM bus.accounting ORDER BY outcome")
    assert [tuple(row) for row in rows] == [
        ("shop", "identity_worker", "accepted", 3), ("shop", "identity_worker", "duplicate", 1),
        ("shop", "identity_worker", "resolved", 2)]


@pytest.mark.parametrize("identifiers", [(), ("user_id:null",), ("user_id:  ", "email:")])
async def test_a_touchpoint_without_a_usable_identifier_is_nobodys_and_still_resolved(connection, identifiers):
    tx = await handle(connection, IdentityWorker(), touch("m1", *identifiers))
    [record] = tx.of(RESOLVED)
    assert (record["link"], record["home"], record["profile"]) == (None, None, None)
    assert await people(connection) == []


async def test_people_with_the_same_junk_are_not_one_person(connection):
    await handle(connection, IdentityWorker(), touch("m1", "user_id:null", "anonymous_id:a"),
                 touch("m2", "user_id:null", "anonymous_id:b"))
    assert await people(connection) == [["anonymous_id:a"], ["anonymous_id:b"]]


async def test_workspaces_never_meet(connection):
    await handle(connection, IdentityWorker(), touch("m1", "user_id:a", "anonymous_id:c"),
                 touch("m1", "user_id:a", workspace=2), touch("m2", "anonymous_id:c", workspace=2))
    assert await people(connection) == [["anonymous_id:c", "user_id:a"]]
    assert await people(connection, 2) == [["anonymous_id:c"], ["user_id:a"]]


async def test_an_identifier_that_too_many_claim_becomes_a_hub_and_lets_go_of_those_it_had_joined(connection):
    await set_policy(connection, Policy(hub=2))
    worker = IdentityWorker()
    await handle(connection, worker, touch("m1", "crm_id:1", "phone:555"), touch("m2", "crm_id:2", "phone:555"))
    assert len(await people(connection)) == 1
    tx = await handle(connection, worker, touch("m3", "crm_id:3", "phone:555"))
    assert await people(connection) == [["crm_id:1"], ["crm_id:2"], ["crm_id:3"], ["phone:555"]]
    assert {move[0] for record in tx.of(IDENTITY_CHANGED) for move in record["moves"]} >= {atom("phone:555").hex()}
    assert await connection.fetchval("SELECT count(*) FROM identity.journal WHERE kind = 'hub'") == 1


async def test_a_refused_edge_is_journalled_with_its_rule(connection):
    await handle(connection, IdentityWorker(), touch("m1", "user_id:a", "email:e@x.com", at=NOW - 2),
                 touch("m2", "user_id:b", "email:e@x.com", at=NOW - 1))
    row = await connection.fetchrow("SELECT kind, cause, rule, before, after FROM identity.journal")
    assert tuple(row) == ("refused", "touchpoint", "limit", atom("user_id:b"), atom("email:e@x.com"))


async def test_a_shared_tablet_belongs_to_who_logged_in_before(connection):
    worker = IdentityWorker()
    tx = await handle(
        connection, worker, touch("m1", "user_id:kevin", "anonymous_id:tab", at=NOW - 50),
        touch("m2", "user_id:nora", "anonymous_id:tab", at=NOW - 30))
    assert [cut for record in tx.of(IDENTITY_CHANGED) for cut in record["recuts"]] == [
        [atom("anonymous_id:tab").hex(), None, None]]
    tx = await handle(connection, worker, touch("m3", "anonymous_id:tab", at=NOW - 40),
                      touch("m4", "anonymous_id:tab", at=NOW - 20))
    assert [record["slice"] for record in tx.of(RESOLVED)] == [
        atom("user_id:kevin").hex(), atom("user_id:nora").hex()]
    tx = await handle(connection, worker, touch("m5", "user_id:kevin", "anonymous_id:tab", at=NOW - 10))
    assert [cut for record in tx.of(IDENTITY_CHANGED) for cut in record["recuts"]] == [
        [atom("anonymous_id:tab").hex(), NOW - 10, None]]


async def test_slices_are_cut_again_once_those_that_ran_beside_have_ended(pool):
    """A login may be under way, unseen, when another makes the device a shared one."""
    one, other = IdentityWorker(), IdentityWorker()
    async with pool.acquire() as slow, pool.acquire() as fast:
        await handle(fast, one, touch("m1", "user_id:kevin", "anonymous_id:tab", at=NOW - 50))
        await handle(fast, other, touch("m0", "user_id:x"))
        transaction = slow.transaction()
        await transaction.start()
        unseen = RecordingTx(slow, NOW)
        await one.handle(
            Batch(ACCEPTED, 0, [Record(0, touch(
                "m3", "user_id:kevin", "anonymous_id:tab", at=NOW - 10, source="app"))]), unseen)
        await handle(fast, other, touch("m2", "user_id:nora", "anonymous_id:tab", at=NOW - 30))
        early = RecordingTx(fast, NOW)
        async with fast.transaction():
            await other.tick(early)
        assert early.published == []
        await transaction.commit()
        late = RecordingTx(fast, NOW)
        async with fast.transaction():
            await other.tick(late)
    assert [record["recuts"] for record in late.of(IDENTITY_CHANGED)] == [
        [[atom("anonymous_id:tab").hex(), NOW - 10, None]]]


async def test_the_number_of_statements_does_not_depend_on_the_size_of_the_batch(connection):
    worker = IdentityWorker()

    async def statements(name: str, size: int) -> int:
        await handle(connection, worker, *(touch(f"{name}{number}", f"anonymous_id:{name}{number}")
                                           for number in range(size)))
        batch = [touch(f"{name}-{number}", f"anonymous_id:{name}{number}", f"user_id:{name}{number}")
                 for number in range(size)]
        seen: list[str] = []
        with connection.query_logger(lambda query: seen.append(query.query)):
            await handle(connection, worker, *batch)
        return len(seen)

    await statements("warm", 1)
    assert await statements("few", 2) == await statements("many", 300) <= 24


async def test_a_batch_of_known_links_takes_no_lock_and_at_most_eight_statements(connection):
    worker = IdentityWorker()
    await handle(connection, worker, *(touch(f"a{n}", f"anonymous_id:{n}", f"user_id:{n}") for n in range(20)))
    seen: list[str] = []
    with connection.query_logger(lambda query: seen.append(query.query)):
        await handle(connection, worker, *(touch(
            f"b{n}", f"anonymous_id:{n}", f"user_id:{n}", at=NOW + 1) for n in range(20)))
    assert not any("advisory" in query for query in seen)
    assert len(seen) <= 8


@pytest.mark.parametrize("broken", [b"{}", b"nonsense", b'{"schema":0}', b'{"schema":1,"workspace":"x"}'])
async def test_an_unreadable_record_is_named_by_its_position(connection, broken):
    with pytest.raises(PoisonRecord) as caught:
        async with connection.transaction():
            await IdentityWorker().handle(
                Batch(ACCEPTED, 0, [Record(4, touch("m1")), Record(5, broken)]), RecordingTx(connection, NOW))
    assert caught.value.position == 5


async def test_a_record_of_a_version_to_come_stops_the_process(connection):
    with pytest.raises(Stop):
        async with connection.transaction():
            await IdentityWorker().handle(
                Batch(ACCEPTED, 0, [Record(4, b'{"schema":2}')]), RecordingTx(connection, NOW))
