"""Reads what a unit of work needs to know of some people: a fixed number of statements, however many people.

LATERAL with OFFSET 0 keeps each look-up on its index: joined freely, a table without statistics is scanned whole.

Ids are hex here and bytes in PostgreSQL. People are found through identity's pointers inside the transaction; what a
record said of them is a hint.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from percorso_orchestrator.calendar import choose_zone
from percorso_orchestrator.catalogue import Catalogue
from percorso_orchestrator.entering import Prior
from percorso_orchestrator.gates import OpenHold
from percorso_orchestrator.model import Event, Run
from percorso_orchestrator.run_json import run_from_json
from percorso_orchestrator.world import World
from percorso_shared import history
from percorso_shared.clock import to_datetime, to_ms
from percorso_shared.names import canonical_name

INFINITY_MS = 253_402_214_400_000
"""What asyncpg makes of 'infinity' is at least this late."""


class Touchpoint(msgspec.Struct, frozen=True):
    """The part of an `Accepted` record that journeys look at."""

    event_id: str
    name: str
    timestamp: int
    received_at: int
    properties: dict[str, Any] = {}
    context: dict[str, Any] = {}
    flags: list[str] = []


TOUCHPOINT_DECODER = msgspec.json.Decoder(Touchpoint)


def event_from(touchpoint: bytes | msgspec.Raw) -> Event:
    """Raises msgspec.DecodeError."""
    found = TOUCHPOINT_DECODER.decode(touchpoint)
    return Event(found.event_id, found.name, canonical_name(found.name), found.timestamp, found.received_at,
                 found.properties, found.context, "imported" in found.flags)


def as_bytes(ids: Iterable[str]) -> list[bytes]:
    return [bytes.fromhex(id_) for id_ in ids]


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run as it stands in the table."""

    run: Run
    """`person` is the present one, by the pointer of its atom."""
    stored_person: str


async def pointers(connection: Any, workspace: int, atoms: Collection[str]) -> dict[str, str]:
    """atom -> present person. An atom that points nowhere is left out."""
    rows = await connection.fetch(
        "SELECT atom_id, profile_id FROM identity.pointers WHERE workspace_id = $1 AND atom_id = ANY($2::uuid[])",
        workspace, as_bytes(sorted(atoms)))
    return {row["atom_id"].hex(): row["profile_id"].hex() for row in rows}


async def lock_people(connection: Any, workspace: int, people: Collection[str]) -> None:
    """One writer per person, until the transaction ends. In sorted order: no two units of work wait for each other."""
    wanted = as_bytes(sorted(people))
    await connection.execute(
        "INSERT INTO orchestrator.person (workspace_id, person) SELECT $1, p FROM unnest($2::uuid[]) p ORDER BY p "
        "ON CONFLICT DO NOTHING", workspace, wanted)
    await connection.execute(
        "SELECT FROM orchestrator.person WHERE workspace_id = $1 AND person = ANY($2::uuid[]) ORDER BY person "
        "FOR UPDATE", workspace, wanted)


async def listening(connection: Any, workspace: int, pairs: Collection[tuple[str, str]]) -> set[str]:
    """Runs that listen to one of (person, canonical name)."""
    ordered = sorted(pairs)
    rows = await connection.fetch(
        """
        SELECT DISTINCT s.run_id
        FROM unnest($2::uuid[], $3::text[]) AS q (person, name)
        CROSS JOIN LATERAL (SELECT p.atom_id FROM identity.pointers p
                            WHERE p.workspace_id = $1 AND p.profile_id = q.person OFFSET 0) p
        CROSS JOIN LATERAL (SELECT s.run_id FROM orchestrator.subscription s
                            WHERE s.workspace_id = $1 AND s.atom = p.atom_id AND s.name = q.name OFFSET 0) s
        """, workspace, as_bytes(person for person, _ in ordered), [name for _, name in ordered])
    return {row["run_id"].hex() for row in rows}


async def priors(connection: Any, workspace: int, wanted: Collection[tuple[str, str, str]],
                 ) -> dict[tuple[str, str, str], list[Prior]]:
    """(person, journey, key) -> earlier runs, oldest first."""
    ordered = sorted(wanted)
    rows = await connection.fetch(
        """
        SELECT q.person, r.journey, r.key, r.run_id, r.entered_at, r.state
        FROM unnest($2::uuid[], $3::text[], $4::text[]) AS q (person, journey, key)
        CROSS JOIN LATERAL (SELECT p.atom_id FROM identity.pointers p
                            WHERE p.workspace_id = $1 AND p.profile_id = q.person OFFSET 0) p
        CROSS JOIN LATERAL (SELECT r.* FROM orchestrator.run r
                            WHERE r.workspace_id = $1 AND r.atom = p.atom_id AND r.journey = q.journey
                              AND r.key = q.key OFFSET 0) r
        ORDER BY r.entered_at, r.run_id
        """, workspace, as_bytes(person for person, _, _ in ordered), [journey for _, journey, _ in ordered],
        [key for _, _, key in ordered])
    found: dict[tuple[str, str, str], list[Prior]] = {}
    for row in rows:
        found.setdefault((row["person"].hex(), row["journey"], row["key"]), []).append(
            Prior(row["run_id"].hex(), to_ms(row["entered_at"]), row["state"] == "active"))
    return found


_RUNS = """
SELECT r.body::text AS body, r.person AS stored, coalesce(p.profile_id, r.person) AS person
FROM orchestrator.run r
LEFT JOIN identity.pointers p ON p.workspace_id = $1 AND p.atom_id = r.atom
WHERE r.workspace_id = $1 AND {which}
ORDER BY r.run_id FOR UPDATE OF r
"""


def _stored(rows: Sequence[Any]) -> list[StoredRun]:
    found = [StoredRun(replace(run_from_json(row["body"]), person=row["person"].hex()), row["stored"].hex())
             for row in rows]
    return sorted(found, key=lambda stored: stored.run.order)


async def runs_by_id(connection: Any, workspace: int, ids: Collection[str]) -> list[StoredRun]:
    """In entry order; locked."""
    return _stored(await connection.fetch(_RUNS.format(which="r.run_id = ANY($2::uuid[])"), workspace,
                                          as_bytes(sorted(ids))))


async def living_runs_of(connection: Any, workspace: int, people: Collection[str]) -> list[StoredRun]:
    """Every active or suspended run of these people, in entry order; locked."""
    which = ("r.state <> 'ended' AND r.atom IN (SELECT q.atom_id FROM identity.pointers q "
             "WHERE q.workspace_id = $1 AND q.profile_id = ANY($2::uuid[]))")
    return _stored(await connection.fetch(_RUNS.format(which=which), workspace, as_bytes(sorted(people))))


# --- what is known of people -----------------------------------------------------------------------------------------

_PEOPLE = """
SELECT q.person, p.traits::text AS traits, p.consent::text AS consent, p.account, a.traits::text AS account_traits
FROM unnest($2::uuid[]) AS q (person)
LEFT JOIN profile.people p ON p.workspace_id = $1 AND p.profile_id = q.person
LEFT JOIN profile.accounts a ON a.workspace_id = $1 AND a.account_id = p.account
"""

_EMAILS = """
SELECT DISTINCT ON (p.profile_id) p.profile_id AS person, a.value
FROM identity.pointers p
JOIN identity.atoms a ON a.workspace_id = $1 AND a.atom_id = p.atom_id
WHERE p.workspace_id = $1 AND p.profile_id = ANY($2::uuid[]) AND a.type = 'email' AND a.state = 'active'
ORDER BY p.profile_id, a.first_seen, a.value
"""

_HOLDS = """
SELECT q.person, h.name, h.key, h.expires_at
FROM unnest($2::uuid[]) AS q (person)
CROSS JOIN LATERAL (SELECT p.atom_id FROM identity.pointers p
                    WHERE p.workspace_id = $1 AND p.profile_id = q.person OFFSET 0) p
CROSS JOIN LATERAL (SELECT h.* FROM orchestrator.hold h WHERE h.workspace_id = $1 AND h.atom = p.atom_id OFFSET 0) h
UNION
SELECT q.person, h.name, h.key, h.expires_at
FROM unnest($2::uuid[], $3::text[]) AS q (person, account)
CROSS JOIN LATERAL (SELECT h.* FROM orchestrator.hold h
                    WHERE h.workspace_id = $1 AND h.account = q.account AND h.covers_account OFFSET 0) h
"""

_CAP_SENDS = """
SELECT p.profile_id AS person, s.cap_group, s.due_at
FROM identity.pointers p
CROSS JOIN LATERAL (
    SELECT s.cap_group, s.due_at FROM orchestrator.send s
    WHERE s.workspace_id = $1 AND s.atom = p.atom_id AND s.cap_group = ANY($3::text[]) AND s.due_at > $4
      AND s.state IN ('planned', 'claimed', 'sending', 'sent', 'unknown') OFFSET 0) s
WHERE p.workspace_id = $1 AND p.profile_id = ANY($2::uuid[])
"""


async def load_worlds(connection: Any, catalogue: Catalogue, people: Collection[str],
                      versions: frozenset[tuple[str, int]], earliest: int, now_ms: int) -> dict[str, World]:
    """person -> what is known. The history holds what the given versions' expressions and waits may look at, from
    `earliest` (and their windows) on."""
    workspace, ids = catalogue.workspace, as_bytes(sorted(people))
    rows = await connection.fetch(_PEOPLE, workspace, ids)
    emails = {row["person"].hex(): row["value"] for row in await connection.fetch(_EMAILS, workspace, ids)}
    names = catalogue.history_names(versions)
    since = catalogue.history_from(versions, earliest)
    worlds: dict[str, World] = {}
    for row in rows:
        person = row["person"].hex()
        traits = _object(row["traits"])
        account_traits = _object(row["account_traits"])
        address = traits.get("email")
        if not isinstance(address, str) or not address:
            address = emails.get(person)
        worlds[person] = World(
            person=person, traits=traits, consent=_object(row["consent"]), account=row["account"],
            account_traits=account_traits, zone=zone_of(traits, account_traits), history_names=names,
            history_from=since, addresses={"email": address} if address else {}, reachable_configured=True,
            paused=catalogue.paused)
    if names:
        await _fill_history(connection, workspace, worlds, ids, names, since)
    if catalogue.policies.holds:
        await _fill_holds(connection, workspace, worlds)
    if catalogue.cap_groups:
        after = to_datetime(now_ms - catalogue.cap_ms)
        for row in await connection.fetch(_CAP_SENDS, workspace, ids, list(catalogue.cap_groups), after):
            worlds[row["person"].hex()].cap_sends.setdefault(row["cap_group"], []).append(to_ms(row["due_at"]))
    return worlds


def zone_of(traits: Mapping[str, Any], account_traits: Mapping[str, Any]) -> str:
    """Person, else account, else UTC."""
    return choose_zone(*(found.get(name) for found in (traits, account_traits)
                         for name in ("timezone", "tz", "time_zone")))


def _object(text: str | None) -> dict[str, Any]:
    found = msgspec.json.decode(text) if text else {}
    return found if isinstance(found, dict) else {}


async def _fill_history(connection: Any, workspace: int, worlds: Mapping[str, World], ids: Sequence[bytes],
                        names: Collection[str], since: int | None) -> None:
    past: dict[str, list[Event]] = {}
    for touchpoint in await history.scan(connection, workspace, ids, sorted(names), since):
        past.setdefault(touchpoint.person.hex(), []).append(event_from(touchpoint.touchpoint))
    for person, events in past.items():
        if person in worlds:
            worlds[person].history = sorted(events, key=lambda event: (event.time, event.id))


async def _fill_holds(connection: Any, workspace: int, worlds: Mapping[str, World]) -> None:
    ordered = sorted(worlds)
    for row in await connection.fetch(_HOLDS, workspace, as_bytes(ordered),
                                      [worlds[person].account for person in ordered]):
        holds = worlds[row["person"].hex()].holds
        assert holds is not None
        expires = to_ms(row["expires_at"])
        holds.append(OpenHold(row["name"], row["key"], None if expires >= INFINITY_MS else expires))
