"""What an operator says: one row, and the people concerned are resolved again; taken back, it is as if never said."""

import pytest

from identity_world import NOW, WORKSPACE, atom, handle, named, people, set_policy, touch
from percorso_identity import facts, stores
from percorso_identity.facts import FactRefused
from percorso_identity.policy import Policy
from percorso_services.identity_worker.worker import IdentityWorker
from percorso_shared import ids
from percorso_shared.stores import Subject

FACT = b"f" * 16


@pytest.fixture
async def connection(pool):
    async with pool.acquire() as one:
        yield one


async def say(connection, op, *texts, fact=FACT):
    async with connection.transaction():
        return await facts.add_fact(connection, WORKSPACE, fact, op, *named(*texts), author="ops", reason="asked",
                                    now_ms=NOW)


async def take_back(connection, fact=FACT):
    async with connection.transaction():
        return await facts.revoke_fact(connection, WORKSPACE, fact, author="ops", now_ms=NOW)


async def test_a_veto_splits_and_its_revocation_joins_again(connection):
    await handle(connection, IdentityWorker(), touch("m1", "crm_id:k", "email:a@x.com"),
                 touch("m2", "crm_id:k", "phone:111222333"), touch("m3", "phone:111222333", "anonymous_id:z"))
    changes = await say(connection, "veto", "crm_id:k", "phone:111222333")
    apart = [["anonymous_id:z", "phone:111222333"], ["crm_id:k", "email:a@x.com"]]
    assert await people(connection) == apart
    assert {move.atom for move in changes.moves} == {atom("phone:111222333"), atom("anonymous_id:z")}
    await handle(connection, IdentityWorker(), touch("m4", "crm_id:k", "anonymous_id:z"))
    assert len(await people(connection)) == 2
    await take_back(connection)
    assert len(await people(connection)) == 1


async def test_a_fact_about_identifiers_not_seen_yet_holds_when_they_come(connection):
    await say(connection, "veto", "user_id:a", "email:e@x.com")
    await say(connection, "block", "phone:5550100", fact=b"g" * 16)
    assert await people(connection) == []
    await handle(connection, IdentityWorker(), touch("m1", "user_id:a", "email:e@x.com", "phone:5550100"))
    assert await people(connection) == [["email:e@x.com"], ["user_id:a"]]


async def test_a_block_is_undone_completely(connection):
    await handle(connection, IdentityWorker(), touch("m1", "user_id:a", "email:e@x.com"),
                 touch("m2", "crm_id:k", "email:e@x.com"))
    before = await people(connection)
    changes = await say(connection, "block", "email:e@x.com")
    assert await people(connection) == [["crm_id:k"], ["user_id:a"]]
    assert (atom("email:e@x.com"), None) in {(move.atom, move.after) for move in changes.moves}
    changes = await take_back(connection)
    assert await people(connection) == before
    assert (atom("email:e@x.com"), None) in {(move.atom, move.before) for move in changes.moves}


async def test_a_hub_whose_claimant_is_blocked_may_be_none_any_more(connection):
    await set_policy(connection, Policy(hub=2))
    await handle(connection, IdentityWorker(), *(touch(f"m{n}", f"crm_id:k{n}", "phone:5550100") for n in range(3)))
    assert len(await people(connection)) == 4
    await say(connection, "block", "crm_id:k0")
    assert await people(connection) == [["crm_id:k1", "crm_id:k2", "phone:5550100"]]
    await take_back(connection)
    assert len(await people(connection)) == 4


async def test_an_ignored_link_joins_nobody(connection):
    await handle(connection, IdentityWorker(), touch("m1", "user_id:a", "email:e@x.com"), touch("m2", "user_id:a"))
    link = ids.link_id(WORKSPACE, (atom("user_id:a"), atom("email:e@x.com")))
    async with connection.transaction():
        await facts.ignore_link(connection, WORKSPACE, FACT, link, author="ops", reason="test", now_ms=NOW)
    assert await people(connection) == [["email:e@x.com"], ["user_id:a"]]
    await take_back(connection)
    assert await people(connection) == [["email:e@x.com", "user_id:a"]]


async def test_saying_or_taking_back_twice_is_once(connection):
    await handle(connection, IdentityWorker(), touch("m1", "user_id:a", "email:e@x.com"))
    await say(connection, "veto", "user_id:a", "email:e@x.com")
    assert (await say(connection, "veto", "user_id:a", "email:e@x.com")).moves == []
    await take_back(connection)
    assert (await take_back(connection)).moves == []
    row = await connection.fetchrow("SELECT author, reason, revoked_by FROM identity.fact")
    assert tuple(row) == ("ops", "asked", "ops")


@pytest.mark.parametrize(("op", "texts"), [
    ("veto", ("user_id:a",)), ("block", ("user_id:a", "user_id:b")), ("pin", ("email:A@x.com", "email:a@x.com")),
    ("block", ("user_id:null",)), ("block", ("user_id: ",))])
async def test_what_cannot_be_said_is_refused(connection, op, texts):
    with pytest.raises(FactRefused):
        await say(connection, op, *texts)


async def test_there_is_nothing_to_revoke_or_ignore_that_was_never_there(connection):
    with pytest.raises(FactRefused):
        await take_back(connection)
    with pytest.raises(FactRefused):
        await facts.ignore_link(connection, WORKSPACE, FACT, b"l" * 16, author="ops", reason="", now_ms=NOW)


async def test_an_erased_person_is_gone_and_those_who_shared_an_identifier_stay_whole(connection):
    worker = IdentityWorker()
    await handle(connection, worker, touch("m1", "user_id:gone", "email:e@x.com", at=NOW - 9),
                 touch("m2", "user_id:stays", "email:e@x.com"), touch("m3", "user_id:stays", "anonymous_id:c"))
    atoms = (atom("user_id:gone"), atom("email:e@x.com"))
    subject = Subject(workspace=WORKSPACE, profiles=atoms, atoms=atoms, links=(ids.link_id(WORKSPACE, atoms),),
                      identifiers=())
    [store] = stores.STORES
    async with connection.transaction():
        exported = await store.export(connection, subject)
        assert await store.erase(connection, subject) > 0
    assert [(row["type"], row["value"]) for row in exported] == [("email", "e@x.com"), ("user_id", "gone")]
    assert await people(connection) == [["anonymous_id:c", "user_id:stays"]]
    async with connection.transaction():
        assert await store.erase(connection, subject) == 0
    await handle(connection, IdentityWorker(), touch("m4", "user_id:gone", "email:e@x.com"))
    assert ["email:e@x.com", "user_id:stays"] not in await people(connection)
