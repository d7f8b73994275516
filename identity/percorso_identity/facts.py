"""What an operator says about identifiers: evidence too, with author and reason, and revocable.

Each act is one row and the resolution of the components concerned, in the caller's transaction.
"""

from typing import Literal, NamedTuple

from percorso_identity import facts_postgres, postgres
from percorso_identity.evidence import State
from percorso_identity.normalise import Identifier, normalise
from percorso_identity.policy import Policy
from percorso_identity.postgres import Pointer
from percorso_identity.settle import Changes, settle
from percorso_shared.bus.port import Connection
from percorso_shared.ids import atom_id

Op = Literal["veto", "pin", "block", "ignore"]


class FactRefused(Exception):
    """This cannot be said of these identifiers; the message says why."""


class Fact(NamedTuple):
    """A stored fact."""

    id: bytes
    op: Op
    a: bytes
    b: bytes | None


async def add_fact(connection: Connection, workspace: int, fact: bytes, op: Literal["veto", "pin", "block"],
                   a: tuple[str, str], b: tuple[str, str] | None = None, *, author: str, reason: str,
                   now_ms: int) -> Changes:
    """`a` and `b` are (type, value) as written. `fact` is an id of the caller's choice: adding it twice is adding it
    once. `veto`: a and b are different people. `pin`: the same. `block`: a identifies nobody. They need not have been
    seen yet. Raises FactRefused."""
    policy, _ = await postgres.begin(connection, workspace)
    named = [_identifier(one, policy) for one in (a, b) if one is not None]
    if len(named) != (1 if op == "block" else 2):
        raise FactRefused(f"a {op} names {'one identifier' if op == 'block' else 'two identifiers'}")
    if op == "block" and named[0].blocked:
        raise FactRefused(f"{named[0].type}:{named[0].value} is on the block list already")
    ids: list[bytes] = [atom_id(workspace, one.type, one.value) for one in named]
    if len(set(ids)) < len(ids):
        raise FactRefused(f"both names are the same identifier: {named[0].type}:{named[0].value}")
    await _announce(connection, workspace, dict(zip(ids, named, strict=True)))
    await postgres.lock(connection, workspace)
    first, second = min(ids), max(ids) if len(ids) > 1 else None
    if not await facts_postgres.add_fact(connection, workspace, fact, op, first, second, author, reason, now_ms):
        return Changes()
    return await _settle(connection, workspace, policy, Fact(fact, op, first, second), now_ms)


async def ignore_link(connection: Connection, workspace: int, fact: bytes, link: bytes, *, author: str, reason: str,
                      now_ms: int) -> Changes:
    """What came together in this link says nothing about who is who. Raises FactRefused if it was never seen."""
    policy, _ = await postgres.begin(connection, workspace)
    await postgres.lock(connection, workspace)
    if not await facts_postgres.atoms_of_link(connection, workspace, link):
        raise FactRefused("there is no such link")
    if not await facts_postgres.add_fact(connection, workspace, fact, "ignore", link, None, author, reason, now_ms):
        return Changes()
    return await _settle(connection, workspace, policy, Fact(fact, "ignore", link, None), now_ms)


async def revoke_fact(connection: Connection, workspace: int, fact: bytes, *, author: str, now_ms: int) -> Changes:
    """As if it had never been said. Raises FactRefused if there is none; twice is once."""
    policy, _ = await postgres.begin(connection, workspace)
    await postgres.lock(connection, workspace)
    stored = await facts_postgres.revoke_fact(connection, workspace, fact, author, now_ms)
    if stored is None:
        if not await facts_postgres.fact_exists(connection, workspace, fact):
            raise FactRefused("there is no such fact")
        return Changes()
    return await _settle(connection, workspace, policy, Fact(*stored), now_ms)


def _identifier(named: tuple[str, str], policy: Policy) -> Identifier:
    found = normalise(*named, policy)
    if found is None:
        raise FactRefused(f"{named[0]}: the value is empty")
    return found


async def _announce(connection: Connection, workspace: int, named: dict[bytes, Identifier]) -> None:
    """A place for what no touchpoint has named yet: from now on it is known, so that the touchpoint which names it will
    see the fact."""
    await postgres.add_pointers(connection, workspace, sorted(
        (id_, Pointer(None, one.type, State.BLOCKED if one.blocked else State.ACTIVE, True, False))
        for id_, one in named.items()))


async def _settle(connection: Connection, workspace: int, policy: Policy, fact: Fact, now_ms: int) -> Changes:
    """`fact` was just added or revoked."""
    atoms = [atom for atom in (fact.a, fact.b) if atom is not None]
    blocked: dict[bytes, bool] = {}
    reopen: set[bytes] = set()
    if fact.op == "ignore":
        await facts_postgres.mark_ignored(connection, workspace, fact.a)
        atoms = await facts_postgres.atoms_of_link(connection, workspace, fact.a)
        reopen.update(atoms)
    elif fact.op == "block":
        facts = await postgres.facts_of(connection, workspace, atoms)
        blocked[fact.a] = fact.a in facts.blocked
        if await facts_postgres.identifier_of(connection, workspace, fact.a) is None:
            state = State.BLOCKED if blocked[fact.a] else State.ACTIVE
            await facts_postgres.mark_unseen(connection, workspace, fact.a, state)
            return Changes()
        reopen.update(atoms, await facts_postgres.hubs_beside(connection, workspace, fact.a))
    await facts_postgres.mark_replay(connection, workspace, sorted(atoms))
    return await settle(connection, workspace, policy, {*atoms, *reopen}, cause="fact", cause_id=fact.id,
                        now_ms=now_ms, reopen=reopen, blocked=blocked)
