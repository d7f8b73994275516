"""The statements on schema `profile`. All are set-based and take their rows in ascending order.

`INSERT .. ON CONFLICT DO UPDATE .. WHERE false` locks the rows that exist and makes those that do not, in one order:
nobody can add a row between a lock and the read that follows it. Reads by key go through `LATERAL .. LIMIT 1`, so that
a table without statistics cannot turn them into scans.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from percorso_profile.fold import State, account_of, consent_of, decode, encode, traits_of
from percorso_shared.history import spans_of

NO_SLICE = bytes(16)

Key = tuple[bytes, bytes]
"""(link, slice)."""
Counters = dict[tuple[bytes, bytes, str], list[int]]
"""(link, slice, canonical name) -> [touchpoints, first, last]; instants in ms, event time."""

_COUNT = """
INSERT INTO profile.counter AS c
    (workspace_id, link_id, slice, canonical_name, touchpoints, first_seen, last_seen)
SELECT $1, k.link, k.slice, k.name, k.n, 'epoch'::timestamptz + k.first * interval '1 millisecond',
       'epoch'::timestamptz + k.last * interval '1 millisecond'
FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[])
    AS k (link, slice, name, n, first, last)
ON CONFLICT (workspace_id, link_id, slice, canonical_name) DO UPDATE
SET touchpoints = c.touchpoints + excluded.touchpoints, first_seen = least(c.first_seen, excluded.first_seen),
    last_seen = greatest(c.last_seen, excluded.last_seen)
"""

_LOCK_LINKS = """
INSERT INTO profile.link_state AS s (workspace_id, link_id, slice, state)
SELECT $1, k.link, k.slice, '{}' FROM unnest($2::uuid[], $3::uuid[]) AS k (link, slice)
ON CONFLICT (workspace_id, link_id, slice) DO UPDATE SET state = s.state WHERE false
"""

_READ_LINKS = """
SELECT k.link, k.slice, s.state
FROM unnest($2::uuid[], $3::uuid[]) AS k (link, slice)
CROSS JOIN LATERAL (
    SELECT state FROM profile.link_state s
    WHERE s.workspace_id = $1 AND s.link_id = k.link AND s.slice = k.slice LIMIT 1) s
"""

_WRITE_LINKS = """
INSERT INTO profile.link_state (workspace_id, link_id, slice, state)
SELECT $1, k.link, k.slice, k.state FROM unnest($2::uuid[], $3::uuid[], $4::text[]) AS k (link, slice, state)
ON CONFLICT (workspace_id, link_id, slice) DO UPDATE SET state = excluded.state
"""

_PEOPLE = """
SELECT k.atom, p.profile_id, coalesce(d.version, 0) AS version
FROM unnest($2::uuid[]) AS k (atom)
CROSS JOIN LATERAL (
    SELECT profile_id FROM identity.pointers p WHERE p.workspace_id = $1 AND p.atom_id = k.atom LIMIT 1) p
LEFT JOIN LATERAL (
    SELECT version FROM profile.profile d WHERE d.workspace_id = $1 AND d.profile_id = p.profile_id LIMIT 1) d ON true
"""

_LOCK_PROFILES = """
INSERT INTO profile.profile AS p (workspace_id, profile_id, version)
SELECT $1, k.id, 0 FROM unnest($2::uuid[]) AS k (id)
ON CONFLICT (workspace_id, profile_id) DO UPDATE SET version = p.version WHERE false
"""

_READ_PROFILES = """
SELECT k.id, p.version, p.state
FROM unnest($2::uuid[]) AS k (id)
CROSS JOIN LATERAL (
    SELECT version, state FROM profile.profile p WHERE p.workspace_id = $1 AND p.profile_id = k.id LIMIT 1) p
"""

_WRITE_PROFILES = """
INSERT INTO profile.profile (workspace_id, profile_id, version, traits, consent, account, state)
SELECT $1, k.id, k.version, k.traits, k.consent, k.account, k.state
FROM unnest($2::uuid[], $3::bigint[], $4::jsonb[], $5::jsonb[], $6::text[], $7::text[])
    AS k (id, version, traits, consent, account, state)
ON CONFLICT (workspace_id, profile_id) DO UPDATE
SET version = excluded.version, traits = excluded.traits, consent = excluded.consent, account = excluded.account,
    state = excluded.state, updated_at = now()
"""

_WRITE_PROFILE_STATES = """
INSERT INTO profile.profile (workspace_id, profile_id, version, state)
SELECT $1, k.id, 0, k.state FROM unnest($2::uuid[], $3::text[]) AS k (id, state)
ON CONFLICT (workspace_id, profile_id) DO UPDATE SET state = excluded.state
"""

_DROP_UNUSED = """
DELETE FROM profile.profile WHERE workspace_id = $1 AND profile_id = ANY($2::uuid[]) AND version = 0
"""

_DROP_PROFILES = "DELETE FROM profile.profile WHERE workspace_id = $1 AND profile_id = ANY($2::uuid[])"

_STATES = """
SELECT k.link, k.slice, s.state, c.seen
FROM unnest($2::uuid[], $3::uuid[]) AS k (link, slice)
LEFT JOIN LATERAL (
    SELECT state FROM profile.link_state s
    WHERE s.workspace_id = $1 AND s.link_id = k.link AND s.slice = k.slice LIMIT 1) s ON true
LEFT JOIN LATERAL (
    SELECT true AS seen FROM profile.counter c
    WHERE c.workspace_id = $1 AND c.link_id = k.link AND c.slice = k.slice LIMIT 1) c ON true
WHERE s.state IS NOT NULL OR c.seen
"""

_LOCK_ACCOUNTS = """
INSERT INTO profile.account AS a (workspace_id, account_id, version)
SELECT $1, k.id, 0 FROM unnest($2::text[]) AS k (id)
ON CONFLICT (workspace_id, account_id) DO UPDATE SET version = a.version WHERE false
"""

_READ_ACCOUNTS = """
SELECT k.id, a.version, a.state
FROM unnest($2::text[]) AS k (id)
CROSS JOIN LATERAL (
    SELECT version, state FROM profile.account a WHERE a.workspace_id = $1 AND a.account_id = k.id LIMIT 1) a
"""

_WRITE_ACCOUNTS = """
INSERT INTO profile.account (workspace_id, account_id, version, traits, state)
SELECT $1, k.id, k.version, k.traits, k.state
FROM unnest($2::text[], $3::bigint[], $4::jsonb[], $5::text[]) AS k (id, version, traits, state)
ON CONFLICT (workspace_id, account_id) DO UPDATE
SET version = excluded.version, traits = excluded.traits, state = excluded.state, updated_at = now()
"""


class Person(NamedTuple):
    """Who an atom belongs to. Version 0: no document yet."""

    profile: bytes
    version: int


class Document:
    """A profile's (or account's) document under its row lock."""

    __slots__ = ("changed", "said", "state", "version")

    def __init__(self, version: int, state: State) -> None:
        self.version, self.state = version, state
        self.changed = self.said = False
        """`changed`: a value looks different; `said`: only its instant does."""


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def add_one(counters: Counters, key: tuple[bytes, bytes, str], at: int) -> None:
    count = counters.get(key)
    if count is None:
        counters[key] = [1, at, at]
        return
    count[0] += 1
    if at < count[1]:
        count[1] = at
    elif at > count[2]:
        count[2] = at


async def count(connection: Any, workspace: int, counters: Counters) -> None:
    """Adds to what is counted already."""
    if not counters:
        return
    keys = sorted(counters)
    links, slices, names = zip(*keys, strict=True)
    numbers, firsts, lasts = zip(*map(counters.__getitem__, keys), strict=True)
    await connection.execute(_COUNT, workspace, links, slices, names, numbers, firsts, lasts)


async def lock_links(connection: Any, workspace: int, keys: Iterable[Key]) -> dict[Key, State]:
    """Each key's state; an empty one for a link of which nothing was said yet."""
    ordered = sorted(keys)
    if not ordered:
        return {}
    links, slices = zip(*ordered, strict=True)
    await connection.execute(_LOCK_LINKS, workspace, links, slices)
    rows = await connection.fetch(_READ_LINKS, workspace, links, slices)
    return {(row["link"], row["slice"]): decode(row["state"]) for row in rows}


async def write_links(connection: Any, workspace: int, states: Mapping[Key, State]) -> None:
    if not states:
        return
    keys = sorted(states)
    links, slices = zip(*keys, strict=True)
    await connection.execute(_WRITE_LINKS, workspace, links, slices, [encode(states[key]) for key in keys])


async def people_of(connection: Any, workspace: int, atoms: Iterable[bytes]) -> dict[bytes, Person]:
    """Atom -> its person now. An atom that identity does not know is left out."""
    ordered = sorted(atoms)
    rows = await connection.fetch(_PEOPLE, workspace, ordered) if ordered else ()
    return {row["atom"]: Person(row["profile_id"], row["version"]) for row in rows}


async def lock_profiles(connection: Any, workspace: int, profiles: Iterable[bytes]) -> None:
    """Locks their rows until the end of the transaction; makes them, with version 0, where there are none."""
    ordered = sorted(profiles)
    if ordered:
        await connection.execute(_LOCK_PROFILES, workspace, ordered)


async def read_profiles(connection: Any, workspace: int, profiles: Iterable[bytes]) -> dict[bytes, Document]:
    """They are locked."""
    ordered = sorted(profiles)
    rows = await connection.fetch(_READ_PROFILES, workspace, ordered) if ordered else ()
    return {row["id"]: Document(row["version"], decode(row["state"])) for row in rows}


async def write_profiles(connection: Any, workspace: int, documents: Mapping[bytes, Document]) -> None:
    """Only those that changed; where a value was only said again, only its instant."""
    changed = sorted(profile for profile, document in documents.items() if document.changed)
    if changed:
        found = [documents[profile] for profile in changed]
        await connection.execute(
            _WRITE_PROFILES, workspace, changed, [document.version for document in found],
            [_json(traits_of(document.state)) for document in found],
            [_json(consent_of(document.state)) for document in found],
            [account_of(document.state) for document in found], [encode(document.state) for document in found])
    again = sorted(profile for profile, document in documents.items() if document.said and not document.changed)
    if again:
        await connection.execute(
            _WRITE_PROFILE_STATES, workspace, again, [encode(documents[profile].state) for profile in again])


async def drop_unused_profiles(connection: Any, workspace: int, profiles: Iterable[bytes]) -> None:
    """Of rows that were made for their lock: those that nobody wrote."""
    ordered = sorted(profiles)
    if ordered:
        await connection.execute(_DROP_UNUSED, workspace, ordered)


async def drop_profiles(connection: Any, workspace: int, profiles: Iterable[bytes]) -> None:
    ordered = sorted(profiles)
    if ordered:
        await connection.execute(_DROP_PROFILES, workspace, ordered)


async def states_of(connection: Any, workspace: int, profiles: Iterable[bytes]) -> dict[bytes, list[State]]:
    """The states of all links that are theirs by the present pointers. Somebody of whom there is no touchpoint at all
    is left out."""
    spans = await spans_of(connection, workspace, profiles)
    person_of = {(span.link, span.slice or NO_SLICE): span.person for span in spans}
    found: dict[bytes, list[State]] = {}
    if person_of:
        links, slices = zip(*sorted(person_of), strict=True)
        for row in await connection.fetch(_STATES, workspace, links, slices):
            states = found.setdefault(person_of[row["link"], row["slice"]], [])
            if row["state"] is not None:
                states.append(decode(row["state"]))
    return found


async def lock_accounts(connection: Any, workspace: int, accounts: Iterable[str]) -> dict[str, Document]:
    ordered = sorted(accounts)
    if not ordered:
        return {}
    await connection.execute(_LOCK_ACCOUNTS, workspace, ordered)
    rows = await connection.fetch(_READ_ACCOUNTS, workspace, ordered)
    return {row["id"]: Document(row["version"], decode(row["state"])) for row in rows}


async def write_accounts(connection: Any, workspace: int, documents: Mapping[str, Document]) -> None:
    if not documents:
        return
    accounts = sorted(documents)
    found = [documents[account] for account in accounts]
    await connection.execute(
        _WRITE_ACCOUNTS, workspace, accounts, [document.version for document in found],
        [_json(traits_of(document.state)) for document in found], [encode(document.state) for document in found])
