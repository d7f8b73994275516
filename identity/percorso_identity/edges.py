"""What the links say about pairs: edges in the order in which they are decided."""

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from percorso_identity.evidence import Evidence, Seen, State
from percorso_identity.graph import Graph

Rule = Literal["limit", "size", "hub", "veto", "trust"]
"""Why an edge is refused."""

PIN, SERVER_STRONG, BROWSER_STRONG, STRONG_WEAK, WEAK_WEAK = range(5)
"""Classes, in the order in which they are decided."""


class Edge(NamedTuple):
    """Two identifiers said to be one person's; `a` is the stronger. Sorts in the order of decision."""

    kind: int
    seen: Seen
    b_strength: bytes
    a: bytes
    b: bytes
    browser: bool


class Refusal(NamedTuple):
    """An edge that a guard refuses; `a` is the stronger."""

    a: bytes
    b: bytes
    rule: Rule
    seen: Seen


def derive_edges(evidence: Evidence, graph: Graph, states: Mapping[bytes, State]) -> Iterator[Edge]:
    """A star from the strongest atom of each link, once for each trust that spoke of it."""
    for link, usable in graph.usable:
        for seen, off, browser in ((link.server, State.HUB, False), (link.browser, State.BROWSER_HUB, True)):
            if seen is None or len(usable) < 2:
                continue
            atoms = [atom for atom in usable if states[atom] < off]
            for other in atoms[1:]:
                weak = graph.rule[atoms[0]].weak + graph.rule[other].weak
                kind = (BROWSER_STRONG if browser else SERVER_STRONG) if not weak else STRONG_WEAK + weak - 1
                yield Edge(kind, seen, graph.strength[other], atoms[0], other, browser)
    for pin in evidence.pins:
        if all(states.get(atom, State.BLOCKED) < State.HUB for atom in pin[:2]):
            a, b = sorted(pin[:2], key=graph.strength.__getitem__)
            yield Edge(PIN, pin.seen, graph.strength[b], a, b, False)


def refuse_hubs(graph: Graph, states: Mapping[bytes, State]) -> Iterator[Refusal]:
    """What the star would have been with its hubs."""
    for link, atoms in graph.usable:
        seen, off = (link.server, State.HUB) if link.server is not None else (link.browser, State.BROWSER_HUB)
        assert seen is not None, "a link is seen by somebody"
        for other in atoms[1:]:
            if states[atoms[0]] >= off or states[other] >= off:
                yield Refusal(atoms[0], other, "hub", seen)
