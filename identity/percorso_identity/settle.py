"""Reads the whole components around some atoms, resolves them, and writes what is different from before.

Only under the workspace's lock. The number of statements grows with the diameter of the components (two per step),
never with the number of touchpoints or atoms.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from percorso_identity import postgres, slices_postgres
from percorso_identity.evidence import Evidence, Link, Pin, State
from percorso_identity.policy import Policy
from percorso_identity.postgres import Entry, Pointer, StoredRefusal
from percorso_identity.resolve import Resolution, resolve
from percorso_identity.slices import Interval, Slice, cut, differences
from percorso_shared.bus.port import Connection
from percorso_shared.ids import link_id

Cause = Literal["touchpoint", "fact", "policy"]


class Moved(NamedTuple):
    """An atom that belongs to another profile than before; None: to none (blocked)."""

    atom: bytes
    before: bytes | None
    after: bytes | None


class Recut(NamedTuple):
    """A weak atom whose touchpoints of an interval have another owner than before."""

    atom: bytes
    interval: Interval


@dataclass(slots=True)
class Changes:
    """What a unit of work changed, for those who keep what follows from it."""

    moves: list[Moved] = field(default_factory=list)
    recuts: list[Recut] = field(default_factory=list)
    homes: dict[bytes, bytes | None] = field(default_factory=dict)
    """Every link that was looked at, with its home as it is now."""
    pointers: dict[bytes, Pointer] = field(default_factory=dict)
    """Every atom that was looked at, as it is now."""
    cut: set[bytes] = field(default_factory=set)
    """Weak atoms whose slices were cut anew."""
    sliced: set[bytes] = field(default_factory=set)
    """Those of them that have slices now."""


@dataclass(slots=True)
class Reading:
    """Everything the database says about some whole components."""

    pointers: dict[bytes, Pointer] = field(default_factory=dict)
    links: dict[bytes, Link] = field(default_factory=dict)
    homes: dict[bytes, bytes | None] = field(default_factory=dict)
    ignored: list[bytes] = field(default_factory=list)
    vetoes: set[tuple[bytes, bytes]] = field(default_factory=set)
    pins: set[Pin] = field(default_factory=set)
    erased: set[bytes] = field(default_factory=set)
    """Atoms that are named by a link but are no more."""
    walked: set[bytes] = field(default_factory=set)
    """Atoms all of whose links are in `links`."""


async def read_components(connection: Connection, workspace: int, start: Iterable[bytes],
                          reopen: Collection[bytes] = ()) -> Reading:
    """From `start` over every atom that can join others; hubs and blocked atoms are seen but not walked through, unless
    they are to be decided anew (`reopen`)."""
    reading = Reading()
    front = set(start)
    while front:
        found = await postgres.pointers(connection, workspace, front)
        reading.pointers |= found
        reading.erased |= front - found.keys()
        spoken_of = [atom for atom, pointer in found.items() if pointer.replay]
        reached: set[bytes] = set()
        if spoken_of:
            facts = await postgres.facts_of(connection, workspace, spoken_of)
            reading.vetoes.update(facts.vetoes)
            reading.pins.update(facts.pins)
            reached.update(atom for pin in facts.pins for atom in pin[:2])
        walk = [atom for atom, pointer in found.items() if pointer.state < State.HUB or atom in reopen]
        if walk:
            reading.walked.update(walk)
            singles = [link_id(workspace, (atom,)) for atom in walk]
            for link, home, ignored in await postgres.links_of(connection, workspace, walk, singles):
                reading.homes[link.id] = home
                if ignored:
                    reading.ignored.append(link.id)
                    continue
                reading.links[link.id] = link
                reached.update(link.atoms)
        front = reached - reading.pointers.keys() - reading.erased
    return reading


def _evidence(reading: Reading, blocked: Mapping[bytes, bool]) -> Evidence:
    """`blocked` overrules what is stored."""
    links = list(reading.links.values())
    if reading.erased:
        links = [link._replace(atoms=tuple(atom for atom in link.atoms if atom not in reading.erased))
                 for link in links]
    spoken = {atom for link in links for atom in link.atoms}
    pointers = reading.pointers
    return Evidence(
        types={atom: pointers[atom].type for atom in spoken},
        links=tuple(links),
        blocked=frozenset(
            atom for atom in spoken if blocked.get(atom, pointers[atom].state is State.BLOCKED)),
        settled={atom: pointers[atom].state for atom in spoken
                 if State.HUB <= pointers[atom].state < State.BLOCKED and atom not in reading.walked},
        crowded=frozenset(atom for atom in spoken if pointers[atom].crowded),
        vetoes=tuple(sorted(pair for pair in reading.vetoes if spoken.issuperset(pair))),
        pins=tuple(sorted(pin for pin in reading.pins if spoken.issuperset(pin[:2]))))


async def settle(connection: Connection, workspace: int, policy: Policy, start: Iterable[bytes], *, cause: Cause,
                 cause_id: bytes | None = None, now_ms: int, born: Collection[bytes] = (),
                 reopen: Collection[bytes] = (), blocked: Mapping[bytes, bool] | None = None) -> Changes:
    """Brings the components around `start` up to date. Atoms in `born` were added by this unit of work: that they
    belong somewhere is no move. `reopen` and
    `blocked`: hubs and blocked atoms to be decided anew, and whether an operator blocks them."""
    reading = await read_components(connection, workspace, start, reopen)
    resolution = resolve(_evidence(reading, blocked or {}), policy)
    changes = Changes(pointers=reading.pointers)
    entries: list[Entry] = []
    await _write_pointers(connection, workspace, reading, resolution, changes, entries, born, cause_id,
                          {atom for named in (reading.vetoes, reading.pins) for one in named for atom in one[:2]})
    await _write_homes(connection, workspace, reading, resolution, changes)
    await _write_refusals(connection, workspace, reading, resolution, entries)
    if entries:
        await postgres.write_journal(connection, workspace, entries, cause, now_ms)
    cut_again = {*resolution.shared, *(atom for atom, pointer in reading.pointers.items()
                                       if pointer.replay and policy.rule(pointer.type).weak)}
    if cut_again:
        again = await recut(connection, workspace, policy, cut_again)
        changes.recuts, changes.cut, changes.sliced = again.recuts, again.cut, again.sliced
    return changes


async def _write_pointers(connection: Connection, workspace: int, reading: Reading, resolution: Resolution,
                          changes: Changes, entries: list[Entry], born: Collection[bytes], cause_id: bytes | None,
                          spoken_of: Collection[bytes]) -> None:
    changed: dict[bytes, Pointer] = {}
    groups: dict[tuple[bytes | None, bytes | None], list[bytes]] = {}
    for atom, before in reading.pointers.items():
        if atom in resolution.profiles:
            if atom not in reading.walked and before.state is not State.BLOCKED:
                continue
            after = Pointer(resolution.profiles[atom], before.type, resolution.states[atom],
                            atom in resolution.replay or atom in spoken_of, atom in resolution.crowded)
        elif atom in reading.walked and before.profile is not None:
            after = Pointer(atom, before.type, State.ACTIVE, atom in spoken_of, False)
        else:
            continue
        if after == before:
            continue
        changed[atom] = after
        if after.profile != before.profile and atom not in born and (before.profile or before.state is State.BLOCKED):
            groups.setdefault((before.profile, after.profile), []).append(atom)
            changes.moves.append(Moved(atom, before.profile, after.profile))
        if (after.state in _HUBS) != (before.state in _HUBS):
            entries.append(Entry("hub", None, None, (atom,), "hub", cause_id))
    if changed:
        await postgres.change_pointers(connection, workspace, sorted(changed.items()))
        changes.pointers = {**reading.pointers, **changed}
    for (old, new), atoms in sorted(groups.items(), key=lambda group: sorted(group[1])):
        entries.append(Entry("moved", old, new, sorted(atoms), None, cause_id))


_HUBS = frozenset({State.BROWSER_HUB, State.HUB, State.CROWD_HUB})


async def _write_homes(connection: Connection, workspace: int, reading: Reading, resolution: Resolution,
                       changes: Changes) -> None:
    changed = {link: home for link, home in resolution.homes.items() if home != reading.homes[link]}
    changes.homes = {**reading.homes, **changed}
    if changed:
        await postgres.change_homes(connection, workspace, sorted(changed.items(), key=lambda item: item[0]))


async def _write_refusals(connection: Connection, workspace: int, reading: Reading, resolution: Resolution,
                          entries: list[Entry]) -> None:
    """Refusals between two atoms of which one was walked are replaced by those that stand now."""
    was = any(pointer.replay or pointer.state in _HUBS for pointer in reading.pointers.values())
    if not (was or resolution.refused):
        return
    now = {(one.a, one.b): StoredRefusal(one.a, one.b, one.rule, one.seen.time, one.seen.event)
           for one in resolution.refused}
    stored = {(one.a, one.b): one for one in await postgres.refusals_of(connection, workspace, sorted(reading.walked))}
    known = reading.pointers.keys()
    gone = sorted(pair for pair, one in stored.items() if now.get(pair) != one and known >= set(pair))
    fresh = sorted(one for pair, one in now.items() if stored.get(pair) != one)
    if gone:
        await postgres.drop_refusals(connection, workspace, gone)
    if fresh:
        await postgres.add_refusals(connection, workspace, fresh)
        entries += [Entry("refused", one.a, one.b, (one.a, one.b), one.rule, one.event) for one in fresh
                    if (one.a, one.b) not in stored or stored[one.a, one.b].rule != one.rule]


async def recut(connection: Connection, workspace: int, policy: Policy, atoms: Collection[bytes]) -> Changes:
    """Cuts the slices of weak atoms anew. Under the lock."""
    ordered = sorted(atoms)
    singles = [link_id(workspace, (atom,)) for atom in ordered]
    before = await slices_postgres.slices_of(connection, workspace, ordered)
    logins: dict[bytes, list[tuple[int, bytes]]] = {}
    logouts: dict[bytes, list[int]] = {}
    people: dict[bytes, set[bytes]] = {}
    for claim in await slices_postgres.claims_of(connection, workspace, ordered, singles):
        logouts.setdefault(claim.weak, []).extend(claim.logouts)
        if claim.home is None or claim.profile is None or claim.type is None or policy.rule(claim.type).weak:
            continue
        home = claim.home
        logins.setdefault(claim.weak, []).extend((time, home) for time in (*claim.logins, *claim.logouts))
        people.setdefault(claim.weak, set()).add(claim.profile)
    states = await postgres.pointers(connection, workspace, ordered)
    after: dict[bytes, list[Slice]] = {
        atom: cut(atom, logins[atom], logouts[atom], policy.shared) for atom in ordered
        if len(people.get(atom, ())) > 1 and states[atom].state < State.HUB}
    recuts: list[Recut] = []
    different = []
    for atom in ordered:
        old, new = before.get(atom, []), after.get(atom, [])
        if old == new:
            continue
        different.append(atom)
        recuts += [Recut(atom, interval) for interval in differences(old, new)]
    if different:
        if any(atom in before for atom in different):
            await slices_postgres.drop_slices(connection, workspace, different)
        rows = [(atom, one) for atom in different for one in after.get(atom, ())]
        if rows:
            await slices_postgres.add_slices(connection, workspace, rows)
        fresh = [atom for atom in different if atom not in before]
        if fresh:
            await slices_postgres.advance_epoch(connection, workspace)
            await slices_postgres.ask_for_recut(connection, workspace, fresh)
    return Changes(recuts=recuts, cut=set(ordered), sliced=set(after))

