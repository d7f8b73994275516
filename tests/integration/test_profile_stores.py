"""Export and erasure of what schema `profile` keeps of a person."""

from identity_rows import IdentityRows
from percorso_profile.stores import STORES
from percorso_services.profile_api.people import subject_of
from percorso_services.profile_worker.worker import ProfileWorker
from percorso_shared.clock import to_datetime
from recording_tx import RecordingTx
from touchpoints import NOON, accepted, resolved, resolved_batch


async def test_a_person_is_exported_and_erased_and_nobody_else(pool):
    async with pool.acquire() as connection, connection.transaction():
        identity = IdentityRows(connection)
        links = {user: await identity.link(f"user_id:{user}", "device_id:tab") for user in ("kevin", "nora")}
        tablet = await identity.link("device_id:tab", profile="user_id:kevin")
        kevin, nora, device = (identity.atom(i) for i in ("user_id:kevin", "user_id:nora", "device_id:tab"))
        await identity.slice("device_id:tab", None, "user_id:kevin")
        await identity.slice("device_id:tab", to_datetime(NOON), "user_id:nora")
        await ProfileWorker().handle(resolved_batch(
            resolved(accepted("identified", type="identify", traits={"name": "K"}), links["kevin"], kevin),
            resolved(accepted("identified", type="identify", traits={"name": "N"}), links["nora"], nora),
            resolved(accepted("identified", type="identify", timestamp=NOON - 1, traits={"k": 1}), tablet, device),
            resolved(accepted("identified", type="identify", timestamp=NOON + 1, traits={"n": 1}), tablet, device),
            ), RecordingTx(connection, NOON))
        subject = await subject_of(connection, 1, nora)
        exported = {store.name: await store.export(connection, subject) for store in STORES}
        assert {name: len(rows) for name, rows in exported.items()} == {
            "events": 2, "link_states": 2, "counters": 2, "profiles": 1}
        assert [row["traits"] for row in exported["events"]] == [{"name": "N"}, {"n": 1}]
        assert {store.name: await store.erase(connection, subject) for store in STORES} == {
            "events": 2, "link_states": 2, "counters": 2, "profiles": 1}
        assert [await store.erase(connection, subject) for store in STORES] == [0, 0, 0, 0]
        left = await subject_of(connection, 1, kevin)
        assert [len(await store.export(connection, left)) for store in STORES] == [2, 2, 2, 1]
