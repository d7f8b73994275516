"""Which identifiers join nobody: the blocked, those that too many claim, and the shared weak ones of a crowd."""

from collections import defaultdict
from collections.abc import Iterable

from percorso_identity.evidence import Evidence, State
from percorso_identity.graph import Graph
from percorso_identity.policy import Policy


def decide_states(evidence: Evidence, policy: Policy, graph: Graph) -> dict[bytes, State]:
    """Hub count = distinct atoms that are the strongest of one of its links and stronger than it, hubs included."""
    by_anyone: dict[bytes, set[bytes]] = defaultdict(set)
    by_servers: dict[bytes, set[bytes]] = defaultdict(set)
    for link, atoms in graph.usable:
        for atom in atoms[1:]:
            by_anyone[atom].add(atoms[0])
            if link.server is not None:
                by_servers[atom].add(atoms[0])
    states = dict.fromkeys(evidence.types, State.ACTIVE)
    for atom, claimants in by_anyone.items():
        if len(claimants) > policy.hub:
            states[atom] = State.HUB if len(by_servers[atom]) > policy.hub else State.BROWSER_HUB
    for atom, state in evidence.settled.items():
        if atom in states and state > states[atom]:
            states[atom] = state
    for atom in evidence.blocked:
        if atom in states:
            states[atom] = State.BLOCKED
    return states


def decide_crowds(evidence: Evidence, policy: Policy, graph: Graph, states: dict[bytes, State]) -> frozenset[bytes]:
    """Turns the shared weak ids of every crowd into hubs (in `states`). Returns the atoms that live in a crowd."""
    if len(states) <= policy.crowd and not evidence.crowded:
        return frozenset()
    pieces = Union()
    for link, usable in graph.usable:
        off = State.HUB if link.server is not None else State.BROWSER_HUB
        atoms = [atom for atom in usable if states[atom] < off or states[atom] is State.CROWD_HUB]
        for atom in atoms:
            pieces.join(atoms[0], atom)
    for pin in evidence.pins:
        if all(states.get(atom, State.BLOCKED) < State.HUB for atom in pin[:2]):
            pieces.join(pin.a, pin.b)
    crowded: set[bytes] = set()
    for piece in pieces.all():
        if len(piece) > policy.crowd or not evidence.crowded.isdisjoint(piece):
            crowded.update(piece)
    neighbours: dict[bytes, set[bytes]] = defaultdict(set)
    for _, usable in graph.usable:
        strong = [atom for atom in usable if not graph.rule[atom].weak]
        for atom in usable:
            if graph.rule[atom].weak and atom in crowded:
                neighbours[atom].update(strong)
    for atom, found in neighbours.items():
        if len(found) > 1 and states[atom] < State.HUB:
            states[atom] = State.CROWD_HUB
    return frozenset(crowded)


class Union:
    """Sets that are joined, found by any member."""

    def __init__(self) -> None:
        self._up: dict[bytes, bytes] = {}

    def find(self, atom: bytes) -> bytes:
        up = self._up
        root = up.setdefault(atom, atom)
        while up[root] != root:
            root = up[root]
        while up[atom] != root:
            up[atom], atom = root, up[atom]
        return root

    def join(self, a: bytes, b: bytes) -> None:
        self._up[self.find(b)] = self.find(a)

    def all(self) -> Iterable[list[bytes]]:
        found: dict[bytes, list[bytes]] = defaultdict(list)
        for atom in self._up:
            found[self.find(atom)].append(atom)
        return found.values()
