"""The query API over its real app and database."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from prometheus_client import CollectorRegistry

from identity_rows import IdentityRows
from percorso_services.profile_api import shapes
from percorso_services.profile_api.process import private_app
from percorso_services.profile_worker.worker import ProfileWorker
from percorso_shared.accounting import account
from percorso_shared.bus.receipts import encode_receipt
from percorso_shared.clock import FrozenClock, to_datetime
from percorso_shared.control.access import create_api_key
from percorso_shared.process import Context
from percorso_shared.settings import Settings
from percorso_shared.topics import ACCEPTED
from recording_tx import RecordingTx
from touchpoints import NOON, accepted, resolved, resolved_batch


class QuietBus:
    """Answers what the query API asks of a bus."""

    partitions = 4

    def __init__(self) -> None:
        self.unread_of: dict[tuple[str, str], int] = {}

    async def unread(self, stage: str, topic: str) -> dict[int, int]:
        return {0: self.unread_of.get((stage, topic), 0)}


@pytest.fixture
def bus() -> QuietBus:
    return QuietBus()


@pytest.fixture
async def identity(pool: Any) -> AsyncIterator[IdentityRows]:
    async with pool.acquire() as connection:
        yield IdentityRows(connection)


@pytest.fixture
async def client(pool: Any, bus: QuietBus) -> AsyncIterator[httpx.AsyncClient]:
    _, key = await create_api_key(pool, 1, "test", "admin")
    app = private_app(Context(
        settings=Settings(), pool=pool, bus=bus, clock=FrozenClock(NOON), stop=asyncio.Event(),  # type: ignore[arg-type]
        metrics=CollectorRegistry()))
    async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://private", headers={"Authorization": f"Bearer {key}"},
            ) as opened:
        yield opened


async def fold(pool: Any, *records: dict[str, Any]) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await ProfileWorker().handle(resolved_batch(*records), RecordingTx(connection, NOON + 5000))


async def test_a_profile_tells_what_is_known_of_a_person(pool, identity, client):
    link = await identity.link("user_id:ada", "email:ada@example.com", "anonymous_id:a1")
    ada = identity.atom("user_id:ada")
    await fold(
        pool,
        resolved(accepted("identified", type="identify", traits={"plan": "free"}, add={"tags": ["b", "a"]}), link, ada),
        resolved(accepted("Order Completed", timestamp=NOON + 1500), link, ada),
        resolved(accepted("identified", type="identify", source="backend", timestamp=NOON + 9, traits={
            "plan": "pro", "consent": {"news": True}}), link, ada))
    answered = await client.get("/v1/profiles/email:Ada@Example.com?include=traits,identifiers,provenance,links")
    body = answered.json()
    assert answered.status_code == 200
    assert body["id"] == ada.hex()
    assert body["version"] == 2
    assert body["traits"] == {"consent": {"news": True}, "plan": "pro", "tags": ["a", "b"]}
    assert (body["sets"], body["consent"]) == ({"tags": ["a", "b"]}, {"news": True})
    assert body["counters"] == {"touchpoints": 3, "by_name": {"identified": 2, "order_completed": 1}}
    assert (body["first_seen"], body["last_seen"]) == ("2026-03-02T12:00:00.000Z", "2026-03-02T12:00:01.500Z")
    assert [f"{i['type']}:{i['value']}" for i in body["identifiers"]] == [
        "user_id:ada", "anonymous_id:a1", "email:ada@example.com"]
    plan = body["provenance"]["plan"]
    assert (plan["value"], plan["source"], plan["at"]) == ("pro", "backend", "2026-03-02T12:00:00.009Z")
    assert [(lost["value"], lost["source"]) for lost in plan["lost"]] == [("free", "website")]
    assert [len(found["identifiers"]) for found in body["links"]] == [3]


@pytest.mark.parametrize("address", [
    "user_id:a/b:c d", "a/b:c d", "crm_id:x:y", "{old}", "{new}"])
async def test_a_profile_is_found_under_every_address(pool, identity, client, address):
    await identity.link("user_id:a/b:c d", "crm_id:x:y")
    moves = await identity.point(["crm_id:x:y"], "user_id:a/b:c d")
    assert moves == []
    person, old = identity.atom("user_id:a/b:c d"), identity.atom("crm_id:x:y")
    address = address.replace("{old}", old.hex()).replace("{new}", person.hex())
    type_, colon, value = address.partition(":")
    encoded = f"{type_}:{quote(value, safe='')}" if colon and "/" not in type_ else quote(address, safe="")
    answered = await client.get(f"/v1/profiles/{encoded}")
    assert (answered.status_code, answered.json().get("id")) == (200, person.hex())


@pytest.mark.parametrize(("path", "status"), [
    ("/v1/profiles/user_id:nobody", 404), ("/v1/profiles/nobody", 404), (f"/v1/profiles/{'0' * 32}", 404),
    ("/v1/profiles/user_id:%00", 404), ("/v1/profiles/user_id:%FF", 404), ("/v1/profiles/user_id:ada/nonsense", 404),
    ("/v1/profiles/user_id:ada?include=nonsense", 400), ("/v1/profiles/user_id:ada?after=nonsense!", 400),
    (f"/v1/profiles/user_id:ada?after={encode_receipt({9: 1})}", 400), ("/v1/events?limit=0", 400),
    ("/v1/events?limit=x", 400), ("/v1/events?limit=1001", 400), ("/v1/events?cursor=nonsense", 400),
    ("/v1/events?from=yesterday", 400), ("/v1/events?to=99999999999999999999", 400), ("/v1/events?name=%00", 400),
    ("/v1/profiles/user_id:ada/events?cursor=W10", 400), ("/v1/nothing", 404)])
async def test_what_cannot_be_answered_is_a_problem_detail(client, path, status):
    answered = await client.get(path)
    assert answered.status_code == status
    assert answered.headers["content-type"] == "application/problem+json"
    assert answered.json().keys() == {"type", "title", "status", "detail"}
    assert answered.json()["status"] == status


async def test_without_a_valid_key_nothing_is_said(pool, client):
    _, read = await create_api_key(pool, 1, "reader", "read")
    for header in ("", "Bearer nonsense", "Basic eDp5", "Bearer sk_1_nonsense"):
        answered = await client.get("/v1/events", headers={"Authorization": header})
        assert (answered.status_code, answered.headers["www-authenticate"]) == (401, "Bearer")
    answered = await client.delete("/v1/profiles/user_id:ada", headers={"Authorization": f"Bearer {read}"})
    assert answered.status_code == 403
    assert (await client.get("/v1/events", headers={"Authorization": f"Bearer {read}"})).status_code == 200


async def test_events_are_listed_newest_first_in_pages(pool, identity, client):
    link, ada = await identity.link("user_id:ada"), identity.atom("user_id:ada")
    await fold(pool, *(resolved(accepted(f"n{i}", timestamp=NOON + i), link, ada) for i in range(5)))
    names, cursor = [], ""
    for _ in range(3):
        body = (await client.get(f"/v1/events?limit=2{cursor}")).json()
        names += [event["name"] for event in body["data"]]
        cursor = f"&cursor={body['next']}"
    assert (names, body["next"]) == (["n4", "n3", "n2", "n1", "n0"], None)
    assert [len(body["data"]), body["data"][0]["profile"]] == [1, ada.hex()]
    page = (await client.get("/v1/profiles/ada/events?limit=4")).json()
    rest = (await client.get(f"/v1/profiles/ada/events?limit=4&cursor={page['next']}")).json()
    assert [event["name"] for event in page["data"] + rest["data"]] == names
    assert rest["next"] is None


async def test_an_event_shows_what_was_accepted_and_its_life(pool, identity, client):
    link, ada = await identity.link("user_id:ada"), identity.atom("user_id:ada")
    touchpoint = accepted("Order Completed", message="m-77", identifiers=[["user_id", "ada"]], properties={"total": 3},
                          context={"ip": "0"}, flags=["timestamp_clamped"], original_timestamp="2026-03-02T12:00:00Z")
    await fold(pool, resolved(touchpoint, link, ada))
    await pool.execute("CREATE TABLE identity.dedup_test PARTITION OF identity.dedup FOR VALUES FROM ('2026-03-02') "
                       "TO ('2026-03-03')")
    await pool.execute(
        "INSERT INTO identity.dedup (workspace_id, event_id, received_day, link_id, event_time, received_at, source) "
        "VALUES (1, $1, '2026-03-02', $2, $3, $3, 'website')", bytes.fromhex(touchpoint["event_id"]), link,
        to_datetime(NOON))
    await pool.execute("INSERT INTO ingest.source (workspace_id, name, write_key) VALUES (1, 'website', 'k')")
    (event,) = (await client.get("/v1/events?message_id=m-77")).json()["data"]
    assert event == {
        "id": touchpoint["event_id"], "message_id": "m-77", "source": "website", "type": "track",
        "name": "Order Completed", "profile": ada.hex(), "timestamp": "2026-03-02T12:00:00.000Z",
        "original_timestamp": "2026-03-02T12:00:00Z", "received_at": "2026-03-02T12:00:01.000Z", "account": None,
        "identifiers": [{"type": "user_id", "value": "ada"}], "properties": {"total": 3}, "context": {"ip": "0"},
        "traits": {}, "set_once": {}, "add": {}, "flags": ["timestamp_clamped"], "life": [
            {"stage": "ingest_api", "at": "2026-03-02T12:00:01.000Z"},
            {"stage": "profile_worker", "at": "2026-03-02T12:00:05.000Z"}]}
    assert (await client.get("/v1/events?message_id=m-77&source=backend")).json()["data"] == []
    for query, found in (("name=order_completed", 1), ("name=other", 0), ("source=website", 1), ("source=x", 0),
                         ("from=2026-03-02T12:00:01Z", 1), ("to=2026-03-02T12:00:01Z", 0),
                         (f"from={NOON}&to={NOON + 1001}", 1)):
        assert len((await client.get(f"/v1/events?{query}")).json()["data"]) == found, query


async def test_a_long_forgotten_message_id_is_still_found(pool, identity, client):
    link, ada = await identity.link("user_id:ada"), identity.atom("user_id:ada")
    await fold(pool, resolved(accepted(message="old", source="backend", timestamp=NOON - 40 * 86_400_000), link, ada))
    (event,) = (await client.get("/v1/events?message_id=old&source=backend")).json()["data"]
    assert event["message_id"] == "old"


async def test_sections_have_addresses_of_their_own(pool, identity, client):
    link, ada = await identity.link("user_id:ada"), identity.atom("user_id:ada")
    await fold(pool, resolved(accepted("grouped", type="group", account="acme", traits={"size": 9}), link, ada))
    for section in ("traits", "provenance", "identifiers", "links", "account"):
        body = (await client.get(f"/v1/profiles/user_id:ada/{section}")).json()
        assert section in body
    assert (await client.get("/v1/profiles/user_id:ada/account")).json() == {
        "account": {"id": "acme", "version": 1, "traits": {"size": 9}}}
    for section in ("messages", "journeys"):
        assert (await client.get(f"/v1/profiles/user_id:ada/{section}")).json() == {"data": [], "next": None}


@pytest.mark.parametrize("path", ["sends", "mailbox?to=ada@example.com", "journeys", "quarantine", "journeys/x/runs",
                                  "journeys/x/numbers", "sources"])
async def test_lists_are_pages(client, path):
    answered = await client.get(f"/v1/{path}")
    assert (answered.status_code, answered.json()) == (200, {"data": [], "next": None})


async def test_why_tells_of_one_person_and_one_journey(pool, identity, client):
    await identity.link("user_id:ada")
    answered = await client.get("/v1/journeys/welcome/why?profile=user_id:ada")
    assert (answered.status_code, answered.json()["detail"]) == (404, "there is no journey of this name")
    assert (await client.get("/v1/journeys/welcome/why?profile=nobody")).status_code == 404
    assert (await client.get("/v1/journeys/welcome/why")).status_code == 400


async def test_a_person_is_handed_out_and_erased_from_every_store(pool, identity, client):
    link, ada = await identity.link("user_id:ada", "email:ada@example.com"), identity.atom("user_id:ada")
    other, bob = await identity.link("user_id:bob"), identity.atom("user_id:bob")
    await fold(pool, resolved(accepted("identified", type="identify", traits={"plan": "pro"}), link, ada),
               resolved(accepted(), other, bob))
    archive = (await client.get("/v1/profiles/ada/export")).json()
    assert (len(archive["events"]), archive["profiles"][0]["traits"]) == (1, {"plan": "pro"})
    assert {row["value"] for row in archive["identifiers"]} == {"ada", "ada@example.com"}
    erased = (await client.delete("/v1/profiles/email:ada@example.com")).json()
    assert (erased["id"], erased["erased"]["events"]) == (ada.hex(), 1)
    assert (await client.get("/v1/profiles/ada")).status_code == 404
    assert (await client.delete("/v1/profiles/ada")).status_code == 404
    assert [event["profile"] for event in (await client.get("/v1/events")).json()["data"]] == [bob.hex()]


async def test_quarantine_keeps_what_cannot_be_read_for_administrators(pool, client):
    await pool.execute(
        "INSERT INTO ingest.quarantine (workspace_id, id, source, at_stage, reason, detail, received_at, size, "
        "readable, body) VALUES (1, $1, 'website', 'ingest_api', 'not_json', 'column 3', $2, 3, false, $3)", bytes(16),
        to_datetime(NOON), b"{!}")
    _, read = await create_api_key(pool, 1, "reader", "read")
    shown = (await client.get("/v1/quarantine?reason=not_json")).json()["data"]
    hidden = (await client.get("/v1/quarantine", headers={"Authorization": f"Bearer {read}"})).json()["data"]
    assert (shown[0]["body_base64"], hidden[0]["body_base64"]) == ("eyF9", None)
    assert shown[0]["received_at"] == "2026-03-02T12:00:00.000Z"


async def test_accounting_balances_while_touchpoints_are_under_way(pool, bus, client):
    await account(pool, 1, "ingest_api", {("website", "accepted"): 10, ("website", "refused"): 2}, NOON)
    await account(pool, 1, "identity_worker", {
        ("website", "resolved"): 6, ("website", "duplicate"): 1, ("backend", "resolved"): 1}, NOON)
    await account(pool, 1, "profile_worker", {("website", "resolved"): 4, ("website", "set_aside"): 1}, NOON)
    bus.unread_of = {("identity_worker", ACCEPTED): 3, ("profile_worker", "touchpoints.resolved"): 2}
    lines = (await client.get("/v1/accounting")).json()["data"]
    parts = ("resolved", "duplicate", "set_aside", "erased", "in_flight")
    assert all(line["accepted"] == sum(line[part] for part in parts) for line in lines)
    assert {(x["source"], x["stage"]): (x["accepted"], x["in_flight"], x["refused"]) for x in lines} == {
        ("website", "ingest_api"): (10, 0, 2), ("website", "identity_worker"): (10, 3, 0),
        ("website", "profile_worker"): (6, 1, 0), ("backend", "identity_worker"): (1, 0, 0),
        ("backend", "profile_worker"): (1, 1, 0)}


async def test_a_receipt_waits_until_it_is_folded_in(pool, identity, client, monkeypatch):
    monkeypatch.setattr("percorso_services.profile_api.receipt.WAIT_SECONDS", 0.05)
    await identity.link("user_id:ada")
    receipt = encode_receipt({0: 7})
    answered = await client.get(f"/v1/profiles/ada?after={receipt}")
    assert (answered.status_code, answered.headers["retry-after"]) == (504, "1")
    await pool.execute("INSERT INTO bus.position (grp, topic, partition, next, out) VALUES "
                       "('identity_worker', 'touchpoints.accepted', 0, 8, '{\"touchpoints.resolved/0\": 3}')")
    await pool.execute("INSERT INTO bus.position (grp, topic, partition, next, seen) VALUES "
                       "('profile_worker', 'touchpoints.resolved', 0, 3, '{\"identity_worker\": 3}')")
    assert (await client.get(f"/v1/profiles/ada?after={receipt}")).status_code == 200


@pytest.mark.parametrize("path", [
    "/v1/profiles/ada?include=traits,provenance,identifiers,events,links,account,messages,journeys",
    "/v1/profiles/ada/traits", "/v1/profiles/ada/account", "/v1/profiles/ada/links", "/v1/profiles/ada/events",
    "/v1/events", "/v1/accounting", "/v1/sends", "/v1/mailbox", "/v1/journeys", "/v1/quarantine"])
async def test_answers_have_the_shape_that_is_described(pool, identity, client, path):
    link, ada = await identity.link("user_id:ada", "email:a@example.com"), identity.atom("user_id:ada")
    await fold(pool, resolved(accepted("identified", type="identify", account="acme", traits={"plan": "pro"},
                                       set_once={"first": 1}, add={"tags": "x"}), link, ada))
    body = (await client.get(path)).json()
    model = shapes.Page[Any] if "data" in body else shapes.Profile if "id" in body else shapes.Section
    if path.startswith("/v1/profiles/ada/events"):
        model = shapes.Page[shapes.Event]
    model.model_validate(body, strict=True, extra="forbid")


async def test_the_description_for_machines_and_the_page_need_no_key_and_no_other_host(client):
    client.headers.pop("Authorization")
    described = (await client.get("/openapi.json")).json()
    operation = described["paths"]["/v1/profiles/{address}"]["get"]
    assert set(operation["responses"]) == {"200", "400", "401", "403", "404", "503", "504"}
    assert {"Profile", "ProblemDetail"} <= described["components"]["schemas"].keys()
    page = (await client.get("/docs")).text
    assert not re.search(r"(src|href)=\"(https?:)?//", page)
