"""The SQL of identity: each function is one statement, whatever the number of rows.

Rows are added in ascending order. What is changed rather than added is changed by the holder of `lock` only (so that a
row's place, its ctid, stands still in between). Reads by key go through `LATERAL .. LIMIT 1`, so that a table without
statistics cannot turn them into scans. Instants go in and come out as milliseconds.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from percorso_identity.evidence import Link, Pin, Seen, State
from percorso_identity.policy import DEFAULT, Policy, decode_policy
from percorso_shared.bus.port import Connection

_LOCK = 0x1D
"""First key of the advisory lock that joins of a workspace take; the second is the workspace."""

IMPORTED_DAY = 0
"""Day of `dedup` under which imports are kept for ever."""


class Beginning(NamedTuple):
    """What a unit of work is told first."""

    policy: Policy
    epoch: int


async def begin(connection: Connection, workspace: int) -> Beginning:
    """The policy in force, and the epoch of what may be remembered. Tables without statistics must not push the
    statements that follow into scans: that is forbidden until the transaction ends."""
    row = await connection.fetchrow(
        """SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
                  set_config('enable_mergejoin', 'off', true), p.version, p.body::text AS body,
                  coalesce((SELECT epoch FROM identity.epoch WHERE workspace_id = $1), 0) AS epoch
           FROM (VALUES (1)) AS one LEFT JOIN LATERAL (
               SELECT version, body FROM identity.policy
               WHERE workspace_id = $1 ORDER BY version DESC LIMIT 1) p ON true""", workspace)
    assert row is not None
    policy = DEFAULT if row["version"] is None else decode_policy(row["body"], row["version"])
    return Beginning(policy, row["epoch"])


async def lock(connection: Connection, workspace: int) -> None:
    """One at a time changes who is who in a workspace. Taken last, after every row that others may wait for; held until
    the transaction ends."""
    await connection.execute("SELECT pg_advisory_xact_lock($1, $2)", _LOCK, workspace)


async def seen_events(connection: Connection, workspace: int, events: Sequence[bytes],
                      days: Sequence[int]) -> set[bytes]:
    """Those of `events` that came before, on one of `days`."""
    rows = await connection.fetch(
        """SELECT event_id FROM identity.dedup
           WHERE workspace_id = $1 AND event_id = ANY($2::uuid[])
             AND received_day = ANY(ARRAY(SELECT date '1970-01-01' + d FROM unnest($3::int[]) d))""",
        workspace, events, days)
    return {row[0] for row in rows}


class KnownLink(NamedTuple):
    """What is remembered of a link. Only that it exists never changes; first times fall, the rest are hints."""

    home: bytes | None
    profile: bytes | None
    server: Seen | None
    browser: Seen | None
    sliced: bool
    """One of its atoms has slices."""


def _seen(time: int | None, event: bytes | None) -> Seen | None:
    return None if time is None or event is None else Seen(time, event)


async def known_links(connection: Connection, workspace: int, links: Sequence[bytes]) -> dict[bytes, KnownLink]:
    rows = await connection.fetch(
        """SELECT l.link_id, l.home, (SELECT p.profile_id FROM identity.pointer p
                                      WHERE p.workspace_id = $1 AND p.atom_id = l.home),
                  (extract(epoch FROM l.server_time) * 1000)::bigint, l.server_event,
                  (extract(epoch FROM l.browser_time) * 1000)::bigint, l.browser_event,
                  EXISTS (SELECT FROM identity.slice s WHERE s.workspace_id = $1 AND s.atom_id = ANY(l.atoms))
           FROM identity.link l WHERE l.workspace_id = $1 AND l.link_id = ANY($2::uuid[])""", workspace, links)
    return {row[0]: KnownLink(row[1], row[2], _seen(row[3], row[4]), _seen(row[5], row[6]), row[7]) for row in rows}


class Pointer(NamedTuple):
    """Where an atom belongs at present."""

    profile: bytes | None
    type: str
    state: State
    replay: bool
    crowded: bool


_STATES = tuple(State)


async def pointers(connection: Connection, workspace: int, atoms: Collection[bytes]) -> dict[bytes, Pointer]:
    rows = await connection.fetch(
        """SELECT atom_id, profile_id, type, state, replay, crowded FROM identity.pointer
           WHERE workspace_id = $1 AND atom_id = ANY($2::uuid[])""", workspace, list(atoms))
    return {row[0]: Pointer(row[1], row[2], _STATES[row[3]], row[4], row[5]) for row in rows}


async def add_atoms(connection: Connection, workspace: int, atoms: Iterable[tuple[bytes, str, str, int]]) -> None:
    """(atom, type, value, first seen), ascending."""
    ids, types, values, times = zip(*atoms, strict=True)
    await connection.execute(
        """INSERT INTO identity.atom (workspace_id, atom_id, type, value, first_seen)
           SELECT $1, id, type, value, to_timestamp(at::float8 / 1000)
           FROM unnest($2::uuid[], $3::text[], $4::text[], $5::bigint[]) AS n (id, type, value, at)
           ON CONFLICT DO NOTHING""", workspace, ids, types, values, times)


async def add_pointers(connection: Connection, workspace: int, new: Iterable[tuple[bytes, Pointer]]) -> set[bytes]:
    """Ascending by atom. Returns the atoms added: not those that were there, or came meanwhile."""
    atoms, rows = zip(*new, strict=True)
    profiles, types, states, replay, crowded = zip(*rows, strict=True)
    added = await connection.fetch(
        """INSERT INTO identity.pointer (workspace_id, atom_id, profile_id, type, state, replay, crowded)
           SELECT $1, n.* FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::smallint[], $6::bool[], $7::bool[]) n
           ON CONFLICT DO NOTHING RETURNING atom_id""", workspace, atoms, profiles, types, states, replay, crowded)
    return {row[0] for row in added}


async def change_pointers(connection: Connection, workspace: int, changed: Iterable[tuple[bytes, Pointer]]) -> None:
    """Under the lock."""
    atoms, rows = zip(*changed, strict=True)
    profiles, types, states, replay, crowded = zip(*rows, strict=True)
    await connection.execute(
        """INSERT INTO identity.pointer (workspace_id, atom_id, profile_id, type, state, replay, crowded)
           SELECT $1, n.* FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::smallint[], $6::bool[], $7::bool[]) n
           ON CONFLICT (workspace_id, atom_id) DO UPDATE
           SET profile_id = excluded.profile_id, state = excluded.state, replay = excluded.replay,
               crowded = excluded.crowded""", workspace, atoms, profiles, types, states, replay, crowded)


async def add_links(connection: Connection, workspace: int, new: Sequence[tuple[Link, bytes | None]]) -> set[bytes]:
    """(link, home), ascending by link. Returns the links added: not those that another unit of work added meanwhile."""
    server = [link.server or (None, None) for link, _ in new]
    browser = [link.browser or (None, None) for link, _ in new]
    rows = await connection.fetch(
        """INSERT INTO identity.link (workspace_id, link_id, atoms, home, server_time, server_event, browser_time,
                                      browser_event)
           SELECT $1, id, string_to_array(atoms, ',')::uuid[], home, to_timestamp(st::float8 / 1000), se,
                  to_timestamp(bt::float8 / 1000), be
           FROM unnest($2::uuid[], $3::text[], $4::uuid[], $5::bigint[], $6::uuid[], $7::bigint[], $8::uuid[])
                AS n (id, atoms, home, st, se, bt, be)
           ON CONFLICT DO NOTHING RETURNING link_id""",
        workspace, [link.id for link, _ in new], [",".join(atom.hex() for atom in link.atoms) for link, _ in new],
        [home for _, home in new], [time for time, _ in server], [event for _, event in server],
        [time for time, _ in browser], [event for _, event in browser])
    return {row[0] for row in rows}


async def add_memberships(connection: Connection, workspace: int, pairs: Iterable[tuple[bytes, bytes]]) -> None:
    """(atom, link) of links just added, ascending."""
    atoms, links = zip(*pairs, strict=True)
    await connection.execute(
        """INSERT INTO identity.membership (workspace_id, atom_id, link_id)
           SELECT $1, n.* FROM unnest($2::uuid[], $3::uuid[]) n""", workspace, atoms, links)


async def lower_links(connection: Connection, workspace: int,
                      seen: Sequence[tuple[bytes, Seen | None, Seen | None]]) -> None:
    """(link, server, browser): keeps the smaller of what is stored and this. Under the lock."""
    server = [one or (None, None) for _, one, _ in seen]
    browser = [one or (None, None) for _, _, one in seen]
    await connection.execute(
        """UPDATE identity.link l
           SET server_time = CASE WHEN n.s THEN n.st ELSE l.server_time END,
               server_event = CASE WHEN n.s THEN n.se ELSE l.server_event END,
               browser_time = CASE WHEN n.b THEN n.bt ELSE l.browser_time END,
               browser_event = CASE WHEN n.b THEN n.be ELSE l.browser_event END
           FROM (SELECT m.*, o.place, (m.st, m.se) < (o.server_time, o.server_event)
                             OR o.server_time IS NULL AND m.st IS NOT NULL AS s,
                        (m.bt, m.be) < (o.browser_time, o.browser_event)
                             OR o.browser_time IS NULL AND m.bt IS NOT NULL AS b
                 FROM (SELECT id, to_timestamp(st::float8 / 1000) AS st, se, to_timestamp(bt::float8 / 1000) AS bt, be
                       FROM unnest($2::uuid[], $3::bigint[], $4::uuid[], $5::bigint[], $6::uuid[])
                            AS u (id, st, se, bt, be)) m
                 CROSS JOIN LATERAL (SELECT o.*, o.ctid AS place FROM identity.link o
                                     WHERE o.workspace_id = $1 AND o.link_id = m.id LIMIT 1) o) n
           WHERE l.workspace_id = $1 AND l.ctid = n.place AND (n.s OR n.b)""",
        workspace, [link for link, _, _ in seen], [time for time, _ in server], [event for _, event in server],
        [time for time, _ in browser], [event for _, event in browser])


async def change_homes(connection: Connection, workspace: int, homes: Iterable[tuple[bytes, bytes | None]]) -> None:
    """(link, home). Under the lock."""
    links, atoms = zip(*homes, strict=True)
    await connection.execute(
        """UPDATE identity.link l SET home = n.home
           FROM unnest($2::uuid[], $3::uuid[]) AS n (id, home)
           CROSS JOIN LATERAL (SELECT o.ctid AS place FROM identity.link o
                               WHERE o.workspace_id = $1 AND o.link_id = n.id LIMIT 1) o
           WHERE l.workspace_id = $1 AND l.ctid = o.place""", workspace, links, atoms)


class StoredLink(NamedTuple):
    """A link as it stands, with its derived home."""

    link: Link
    home: bytes | None
    ignored: bool


async def links_of(connection: Connection, workspace: int, atoms: Sequence[bytes],
                   singles: Sequence[bytes]) -> list[StoredLink]:
    """Every link that holds one of `atoms`; `singles` are the ids of the links that hold one atom alone."""
    rows = await connection.fetch(
        """SELECT l.link_id, l.atoms, l.home, l.ignored,
                  (extract(epoch FROM l.server_time) * 1000)::bigint, l.server_event,
                  (extract(epoch FROM l.browser_time) * 1000)::bigint, l.browser_event
           FROM (SELECT DISTINCT m.link_id FROM identity.membership m
                 WHERE m.workspace_id = $1 AND m.atom_id = ANY($2::uuid[])
                 UNION ALL SELECT unnest($3::uuid[])) AS f
           CROSS JOIN LATERAL (SELECT * FROM identity.link l
                               WHERE l.workspace_id = $1 AND l.link_id = f.link_id LIMIT 1) l""",
        workspace, atoms, singles)
    return [StoredLink(Link(row[0], tuple(row[1]), _seen(row[4], row[5]), _seen(row[6], row[7])), row[2], row[3])
            for row in rows]


class Facts(NamedTuple):
    """What operators said and did not take back."""

    vetoes: list[tuple[bytes, bytes]]
    pins: list[Pin]
    blocked: set[bytes]


async def facts_of(connection: Connection, workspace: int, atoms: Sequence[bytes]) -> Facts:
    """Every standing fact that names one of `atoms`."""
    rows = await connection.fetch(
        """SELECT fact_id, op, a, b, (extract(epoch FROM at) * 1000)::bigint FROM identity.fact
           WHERE workspace_id = $1 AND revoked_at IS NULL AND a = ANY($2::uuid[])
           UNION SELECT fact_id, op, a, b, (extract(epoch FROM at) * 1000)::bigint FROM identity.fact
           WHERE workspace_id = $1 AND revoked_at IS NULL AND b IS NOT NULL AND b = ANY($2::uuid[])""",
        workspace, atoms)
    facts = Facts([], [], set())
    for fact, op, a, b, at in rows:
        if op == "veto":
            facts.vetoes.append((a, b))
        elif op == "pin":
            facts.pins.append(Pin(a, b, Seen(at, fact)))
        elif op == "block":
            facts.blocked.add(a)
    return facts


class StoredRefusal(NamedTuple):
    a: bytes
    b: bytes
    rule: str
    time: int
    event: bytes


async def refusals_of(connection: Connection, workspace: int, atoms: Sequence[bytes]) -> list[StoredRefusal]:
    """Every refused edge at one of `atoms`."""
    rows = await connection.fetch(
        """SELECT a, b, rule, (extract(epoch FROM event_time) * 1000)::bigint, event_id FROM identity.refusal
           WHERE workspace_id = $1 AND a = ANY($2::uuid[])
           UNION SELECT a, b, rule, (extract(epoch FROM event_time) * 1000)::bigint, event_id FROM identity.refusal
           WHERE workspace_id = $1 AND b = ANY($2::uuid[])""", workspace, atoms)
    return [StoredRefusal(*row) for row in rows]


async def drop_refusals(connection: Connection, workspace: int, pairs: Iterable[tuple[bytes, bytes]]) -> None:
    a, b = zip(*pairs, strict=True)
    await connection.execute(
        """DELETE FROM identity.refusal r
           USING unnest($2::uuid[], $3::uuid[]) AS n (a, b)
                 CROSS JOIN LATERAL (SELECT o.ctid AS place FROM identity.refusal o
                                     WHERE o.workspace_id = $1 AND o.a = n.a AND o.b = n.b LIMIT 1) o
           WHERE r.workspace_id = $1 AND r.ctid = o.place""", workspace, a, b)


async def add_refusals(connection: Connection, workspace: int, refusals: Iterable[StoredRefusal]) -> None:
    a, b, rules, times, events = zip(*refusals, strict=True)
    await connection.execute(
        """INSERT INTO identity.refusal (workspace_id, a, b, rule, event_time, event_id)
           SELECT $1, a, b, rule, to_timestamp(at::float8 / 1000), event
           FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::bigint[], $6::uuid[]) AS n (a, b, rule, at, event)
           ON CONFLICT DO NOTHING""",
        workspace, a, b, rules, times, events)


class Entry(NamedTuple):
    """A line of the journal."""

    kind: str
    before: bytes | None
    after: bytes | None
    atoms: Sequence[bytes]
    rule: str | None
    cause_id: bytes | None


async def write_journal(connection: Connection, workspace: int, entries: Sequence[Entry], cause: str,
                        now_ms: int) -> None:
    await connection.execute(
        """INSERT INTO identity.journal (workspace_id, at, kind, cause, cause_id, before, after, atoms, rule)
           SELECT $1, to_timestamp($2::bigint::float8 / 1000), kind, $3, cause_id, before, after,
                  string_to_array(atoms, ',')::uuid[], rule
           FROM unnest($4::text[], $5::uuid[], $6::uuid[], $7::uuid[], $8::text[], $9::text[])
                AS n (kind, cause_id, before, after, atoms, rule)""",
        workspace, now_ms, cause, [entry.kind for entry in entries], [entry.cause_id for entry in entries],
        [entry.before for entry in entries], [entry.after for entry in entries],
        [",".join(atom.hex() for atom in entry.atoms) for entry in entries], [entry.rule for entry in entries])

