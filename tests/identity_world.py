"""Builders for tests of identity: touchpoints through the real handler, and what came of them read back."""

from collections.abc import Iterable, Sequence

from percorso_identity.evidence import Evidence, Link, Pin, Seen, State
from percorso_identity.policy import Policy, encode_policy
from percorso_identity.resolve import Resolution, resolve
from percorso_services.identity_worker.worker import IdentityWorker
from percorso_shared import ids
from percorso_shared.bus.port import Batch, Record
from percorso_shared.topics import ACCEPTED, ENCODER, SCHEMA, Accepted
from recording_tx import RecordingTx

NOW = 1_772_409_600_000
WORKSPACE = 1


def named(*texts: str) -> list[tuple[str, str]]:
    """`type:value`, split at the first colon."""
    return [(text.partition(":")[0], text.partition(":")[2]) for text in texts]


def atom(text: str, workspace: int = WORKSPACE) -> bytes:
    return ids.atom_id(workspace, *named(text)[0])


def touch(message: str, *identifiers: str, at: int = NOW, trust: str = "server", workspace: int = WORKSPACE,
          received: int = NOW, logged_out: bool = False, flags: Sequence[str] = (), source: str = "shop") -> bytes:
    """An accepted record. The event id follows from source and message id. Two units of work that run at once count
    what they did per source, so that the second would wait for the first: give them sources of their own."""
    return ENCODER.encode(Accepted(
        schema=SCHEMA, workspace=workspace, source=source, trust=trust,  # type: ignore[arg-type]
        event_id=ids.event_id(workspace, source, message).hex(), message_id=message, type="track", name="seen",
        timestamp=at, received_at=received, identifiers=named(*identifiers), logged_out=logged_out,
        flags=list(flags)))


async def handle(connection, worker: IdentityWorker, *values: bytes) -> RecordingTx:
    """One unit of work, committed."""
    async with connection.transaction():
        tx = RecordingTx(connection, NOW)
        await worker.handle(Batch(ACCEPTED, 0, [Record(index, value) for index, value in enumerate(values)]), tx)
    tx.run_after_commit()
    return tx


async def set_policy(connection, policy: Policy, workspace: int = WORKSPACE) -> None:
    await connection.execute(
        "INSERT INTO identity.policy (workspace_id, version, body, author) VALUES ($1, 1, $2, 'test')",
        workspace, encode_policy(policy))


async def people(connection, workspace: int = WORKSPACE) -> list[list[str]]:
    """The partition, by names."""
    rows = await connection.fetch(
        """SELECT array_agg(a.type || ':' || a.value ORDER BY a.type, a.value) AS names
           FROM identity.atoms a JOIN identity.pointers p USING (workspace_id, atom_id)
           WHERE workspace_id = $1 GROUP BY p.profile_id""", workspace)
    return sorted(row["names"] for row in rows)


def evidence(links: Iterable[tuple[int, str, Sequence[str]]], **more) -> Evidence:
    """(time, trust, identifiers) per touchpoint; the n-th has event id n."""
    found: dict[bytes, Link] = {}
    types: dict[bytes, str] = {}
    for number, (time, trust, texts) in enumerate(links):
        atoms = tuple(sorted({atom(text) for text in texts}))
        types |= {atom(text): named(text)[0][0] for text in texts}
        seen = Seen(time, number.to_bytes(16))
        id_ = ids.link_id(WORKSPACE, atoms)
        before = found.get(id_, Link(id_, atoms, None, None))
        first = [one for one in (getattr(before, trust), seen) if one is not None]
        found[id_] = before._replace(**{trust: min(first)})
    return Evidence(types=types, links=tuple(found.values()), **more)


def groups(resolution: Resolution, names: Iterable[str]) -> list[list[str]]:
    """The partition, by names."""
    found: dict[bytes, list[str]] = {}
    for name in names:
        profile = resolution.profiles.get(atom(name))
        if profile is not None:
            found.setdefault(profile, []).append(name)
    return sorted(sorted(group) for group in found.values())


async def from_scratch(connection, policy: Policy, workspace: int = WORKSPACE) -> Resolution:
    """All stored evidence, resolved at once by the pure function."""
    rows = await connection.fetch(
        """SELECT link_id, atoms, (extract(epoch FROM server_time) * 1000)::bigint, server_event,
                  (extract(epoch FROM browser_time) * 1000)::bigint, browser_event
           FROM identity.link WHERE workspace_id = $1 AND NOT ignored""", workspace)
    links = [Link(row[0], tuple(row[1]), None if row[2] is None else Seen(row[2], row[3]),
                  None if row[4] is None else Seen(row[4], row[5])) for row in rows]
    types = dict(await connection.fetch("SELECT atom_id, type FROM identity.atom WHERE workspace_id = $1", workspace))
    facts = await connection.fetch(
        """SELECT op, a, b, (extract(epoch FROM at) * 1000)::bigint AS at, fact_id FROM identity.fact
           WHERE workspace_id = $1 AND revoked_at IS NULL""", workspace)
    return resolve(Evidence(
        types={one: types[one] for link in links for one in link.atoms}, links=links,
        blocked=frozenset(fact["a"] for fact in facts if fact["op"] == "block"),
        vetoes=[(fact["a"], fact["b"]) for fact in facts
                if fact["op"] == "veto" and {fact["a"], fact["b"]} <= types.keys()],
        pins=[Pin(fact["a"], fact["b"], Seen(fact["at"], fact["fact_id"])) for fact in facts
              if fact["op"] == "pin" and {fact["a"], fact["b"]} <= types.keys()]), policy)


async def stored(connection, workspace: int = WORKSPACE) -> tuple[dict, dict, set]:
    """(atom -> (profile, state), link -> home, refused edges with rule) as the tables say."""
    pointers = {row[0]: (row[1], State(row[2])) for row in await connection.fetch(
        """SELECT atom_id, profile_id, state FROM identity.pointer JOIN identity.atom USING (workspace_id, atom_id)
           WHERE workspace_id = $1""", workspace)}
    homes = dict(await connection.fetch("SELECT link_id, home FROM identity.link WHERE workspace_id = $1", workspace))
    refused = {tuple(row) for row in await connection.fetch(
        "SELECT a, b, rule FROM identity.refusal WHERE workspace_id = $1", workspace)}
    return pointers, homes, refused


def expected(resolution: Resolution) -> tuple[dict, dict, set]:
    """The same of a resolution."""
    return ({one: (profile, resolution.states[one]) for one, profile in resolution.profiles.items()},
            dict(resolution.homes), {(one.a, one.b, one.rule) for one in resolution.refused})
