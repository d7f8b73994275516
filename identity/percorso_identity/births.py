"""Links that were never seen before, and the atoms in them: added without a lock.

Atoms that nobody has seen are resolved among themselves on the spot. Where a link touches an atom that is there
already, its new atoms are put where they will most likely belong, and the caller settles that under the lock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from percorso_identity import postgres
from percorso_identity.evidence import Evidence, Link, State
from percorso_identity.hubs import Union
from percorso_identity.identify import Atom, Signature
from percorso_identity.policy import Policy
from percorso_identity.postgres import Pointer
from percorso_identity.resolve import resolve
from percorso_shared.bus.port import Connection


class NewLink(Protocol):
    """What a batch says about one link."""

    @property
    def signature(self) -> Signature: ...

    def link(self) -> Link: ...


@dataclass(slots=True)
class Births:
    """What was added."""

    joins: set[bytes] = field(default_factory=set)
    """Atoms whose components must be settled."""
    atoms: set[bytes] = field(default_factory=set)
    """Atoms that this transaction added."""
    lost: set[bytes] = field(default_factory=set)
    """Links that another transaction added meanwhile."""
    homes: dict[bytes, bytes | None] = field(default_factory=dict)
    """Link -> home as written."""
    profiles: dict[bytes, bytes | None] = field(default_factory=dict)
    """Atom -> profile as written or found."""


async def add_new(connection: Connection, workspace: int, policy: Policy, uses: Sequence[NewLink]) -> Births:
    """`uses` ascending by link. At most five statements."""
    births = Births()
    if not uses:
        return births
    atoms: dict[bytes, Atom] = {atom.id: atom for use in uses for atom in use.signature.atoms}
    there = await postgres.pointers(connection, workspace, sorted(atoms))
    links: dict[bytes, Link] = {use.signature.link: use.link() for use in uses}
    groups = Union()
    member: dict[bytes, bytes] = {}
    for use in uses:
        usable: list[bytes] = [atom.id for atom in use.signature.atoms if not atom.blocked]
        usable = usable or [use.signature.atoms[0].id]
        member[use.signature.link] = usable[0]
        for id_ in usable:
            groups.join(usable[0], id_)
    touching = {groups.find(id_) for id_ in there if not atoms[id_].blocked}
    pointers = _guess(atoms, there, uses, births)
    island = [link for link in links.values() if groups.find(member[link.id]) not in touching]
    if island:
        resolution = resolve(Evidence(
            types={id_: atoms[id_].type for link in island for id_ in link.atoms}, links=island,
            blocked=frozenset(id_ for link in island for id_ in link.atoms if atoms[id_].blocked)), policy)
        births.homes |= resolution.homes
        touching.update(groups.find(id_) for refusal in resolution.refused for id_ in refusal[:2])
        for id_, profile in resolution.profiles.items():
            if id_ not in there:
                pointers[id_] = Pointer(profile, atoms[id_].type, resolution.states[id_], id_ in resolution.replay,
                                    id_ in resolution.crowded)
    await _write(connection, workspace, atoms, there, pointers, links, births)
    touching.update(groups.find(id_) for id_ in pointers.keys() - births.atoms if not atoms[id_].blocked)
    touching.update(groups.find(member[link]) for link in births.lost)
    births.joins = {id_ for link in links.values() if groups.find(member[link.id]) in touching for id_ in link.atoms}
    births.profiles |= {id_: pointer.profile for id_, pointer in there.items()}
    births.profiles |= {id_: pointer.profile for id_, pointer in pointers.items()}
    return births


def _guess(atoms: Mapping[bytes, Atom], there: Mapping[bytes, Pointer], uses: Sequence[NewLink],
           births: Births) -> dict[bytes, Pointer]:
    """Pointers of the atoms that are not there, each at the profile of its link's strongest atom."""
    pointers: dict[bytes, Pointer] = {}
    for use in uses:
        usable = [atom for atom in use.signature.atoms if not _is(atom, there, State.BLOCKED)]
        active = [atom for atom in usable if not _is(atom, there, State.HUB)]
        strongest = min(active or usable, key=lambda atom: atom.strength, default=None)
        births.homes[use.signature.link] = strongest.id if strongest is not None else None
        found = there.get(strongest.id) if strongest is not None else None
        for atom in use.signature.atoms:
            if atom.id in there:
                continue
            if atom.blocked:
                pointers[atom.id] = Pointer(None, atom.type, State.BLOCKED, False, False)
            else:
                profile = found.profile if found is not None and found.profile is not None else atom.id
                pointers.setdefault(atom.id, Pointer(profile, atom.type, State.ACTIVE, False, False))
    return pointers


def _is(atom: Atom, there: Mapping[bytes, Pointer], least: State) -> bool:
    """Is the atom's state, as far as it is known, `least` or worse?"""
    known = there.get(atom.id)
    return atom.blocked or (known is not None and known.state >= least)


async def _write(connection: Connection, workspace: int, atoms: Mapping[bytes, Atom], there: Mapping[bytes, Pointer],
                 pointers: Mapping[bytes, Pointer], links: Mapping[bytes, Link], births: Births) -> None:
    first: dict[bytes, int] = {}
    for link in links.values():
        time = min(seen.time for seen in (link.server, link.browser) if seen is not None)
        for id_ in link.atoms:
            first[id_] = min(first.get(id_, time), time)
    unsaid = sorted(id_ for id_ in atoms if id_ in pointers or there[id_].profile is None)
    if unsaid:
        await postgres.add_atoms(connection, workspace, [
            (id_, atoms[id_].type, atoms[id_].value, first[id_]) for id_ in unsaid])
    if pointers:
        births.atoms = await postgres.add_pointers(connection, workspace, sorted(pointers.items()))
    added = await postgres.add_links(connection, workspace, [(link, births.homes[id_]) for id_, link in links.items()])
    births.lost = links.keys() - added
    pairs = sorted((id_, link.id) for link in links.values() if link.id in added and len(link.atoms) > 1
                   for id_ in link.atoms)
    if pairs:
        await postgres.add_memberships(connection, workspace, pairs)
