"""Who is who: from evidence to people, as a pure function.

The same evidence gives the same people, whatever the order in which it came. Blocked atoms and hubs are dropped. What
is left are edges, sorted by (class, first event time, event id) and accepted one by one unless the union would break a
guard.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from percorso_identity.edges import Edge, Refusal, derive_edges, refuse_hubs
from percorso_identity.evidence import Evidence, Link, State
from percorso_identity.forest import Forest
from percorso_identity.graph import Graph
from percorso_identity.hubs import Union, decide_crowds, decide_states
from percorso_identity.policy import Policy


@dataclass(frozen=True, slots=True)
class Resolution:
    """The people of the evidence."""

    profiles: Mapping[bytes, bytes | None]
    """Atom -> profile id (the strongest atom of the profile); None for a blocked atom."""
    states: Mapping[bytes, State]
    homes: Mapping[bytes, bytes | None]
    """Link -> the atom at whose profile its touchpoints belong; None when all its atoms are blocked."""
    accepted: tuple[Edge, ...]
    """A forest, in the order of decision: an edge's place is its rank."""
    refused: tuple[Refusal, ...]
    replay: frozenset[bytes]
    """Atoms whose component holds a refused edge or a fact: there the time of an edge matters."""
    crowded: frozenset[bytes]
    shared: Mapping[bytes, tuple[bytes, ...]]
    """Weak atoms that several people claim -> the links of those claims, ascending."""


def resolve(evidence: Evidence, policy: Policy) -> Resolution:
    """Deterministic; depends on nothing but its arguments. Takes 2-5 us per link."""
    graph = Graph(evidence, policy)
    states = decide_states(evidence, policy, graph)
    crowded = decide_crowds(evidence, policy, graph, states)
    edges = sorted(derive_edges(evidence, graph, states))
    forest = Forest(evidence, policy, graph)
    accepted: list[Edge] = []
    refused: dict[tuple[bytes, bytes], Refusal] = {}
    for refusal in sorted(refuse_hubs(graph, states), key=lambda refusal: refusal.seen):
        refused.setdefault(refusal[:2], refusal)
    for edge in edges:
        verdict = forest.join(edge)
        if verdict is True:
            accepted.append(edge)
        elif verdict is not False:
            refused.setdefault((edge.a, edge.b), Refusal(edge.a, edge.b, verdict, edge.seen))
    profiles = forest.profiles(states)
    homes = {link.id: home_of(link, states, graph.strength) for link in evidence.links}
    return Resolution(
        profiles=profiles, states=states, homes=homes, accepted=tuple(accepted),
        refused=tuple(refusal for refusal in sorted(refused.values()) if _stands(refusal, profiles)),
        replay=_to_replay(evidence, edges, refused.values()), crowded=crowded,
        shared=_shared(evidence, graph, states, homes, profiles))


def explain(resolution: Resolution, x: bytes, y: bytes) -> list[Edge] | None:
    """Why x and y are one person: the accepted edges from x to y, in order. None: they are not."""
    near: dict[bytes, list[tuple[bytes, Edge]]] = defaultdict(list)
    for edge in resolution.accepted:
        near[edge.a].append((edge.b, edge))
        near[edge.b].append((edge.a, edge))
    came: dict[bytes, tuple[bytes, Edge] | None] = {x: None}
    front = [x]
    while front and y not in came:
        reached = []
        for atom in front:
            for other, edge in near[atom]:
                if other not in came:
                    came[other] = (atom, edge)
                    reached.append(other)
        front = reached
    if y not in came:
        return None
    path: list[Edge] = []
    step = came[y]
    while step is not None:
        path.append(step[1])
        step = came[step[0]]
    return path[::-1]


def home_of(link: Link, states: Mapping[bytes, State], strength: Mapping[bytes, bytes]) -> bytes | None:
    """The strongest atom neither blocked nor a hub; of a link of hubs only, the strongest of them."""
    off = State.HUB if link.server is not None else State.BROWSER_HUB
    usable = [atom for atom in link.atoms if states[atom] is not State.BLOCKED]
    return min([atom for atom in usable if states[atom] < off] or usable, key=strength.__getitem__, default=None)


def _stands(refusal: Refusal, profiles: Mapping[bytes, bytes | None]) -> bool:
    """Not if the two became one person by other ways."""
    return profiles[refusal.a] != profiles[refusal.b]


def _to_replay(evidence: Evidence, edges: Sequence[Edge], refused: Iterable[Refusal]) -> frozenset[bytes]:
    touched = {atom for refusal in refused if refusal.rule != "hub" for atom in refusal[:2]}
    touched.update(atom for pair in evidence.vetoes for atom in pair)
    touched.update(atom for pin in evidence.pins for atom in pin[:2])
    if not touched:
        return frozenset()
    pieces = Union()
    for edge in edges:
        pieces.join(edge.a, edge.b)
    return frozenset(touched.intersection(evidence.types)).union(
        *(piece for piece in pieces.all() if not touched.isdisjoint(piece)))


def _shared(evidence: Evidence, graph: Graph, states: Mapping[bytes, State], homes: Mapping[bytes, bytes | None],
            profiles: Mapping[bytes, bytes | None]) -> dict[bytes, tuple[bytes, ...]]:
    claims: dict[bytes, list[tuple[bytes, bytes | None]]] = defaultdict(list)
    for link in evidence.links:
        home = homes[link.id]
        if home is None or len(link.atoms) < 2 or graph.rule[home].weak:
            continue
        for atom in link.atoms:
            if graph.rule[atom].weak and states[atom] < State.HUB:
                claims[atom].append((link.id, profiles[home]))
    return {atom: tuple(sorted(link for link, _ in found)) for atom, found in claims.items()
            if len({person for _, person in found}) > 1}
