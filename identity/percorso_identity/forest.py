"""People in the making: trees that are joined edge by edge, unless a guard forbids it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from percorso_identity.edges import PIN, Edge, Rule
from percorso_identity.evidence import Evidence, State
from percorso_identity.graph import Graph
from percorso_identity.policy import Policy


class _Tree:
    """One person so far."""

    __slots__ = ("confirmed", "counts", "enemies", "members")

    def __init__(self, atom: bytes, type_: str, confirmed: bool, enemies: Iterable[bytes]) -> None:
        self.members = [atom]
        self.counts = {type_: 1}
        self.confirmed = confirmed
        """Holds a strong identifier that a server or an operator vouched for."""
        self.enemies = set(enemies)
        """Atoms that an operator keeps apart from one of the members."""


class Forest:
    """One tree per atom at first."""

    def __init__(self, evidence: Evidence, policy: Policy, graph: Graph) -> None:
        self._policy, self._strength = policy, graph.strength
        self._limits = {type_: policy.rule(type_).limit for type_ in set(evidence.types.values())}
        enemies: dict[bytes, list[bytes]] = defaultdict(list)
        for a, b in evidence.vetoes:
            enemies[a].append(b)
            enemies[b].append(a)
        confirmed = {atom for link, atoms in graph.usable if link.server is not None for atom in atoms}
        confirmed.update(atom for pin in evidence.pins for atom in pin[:2])
        self._tree = {
            atom: _Tree(atom, type_, atom in confirmed and not graph.rule[atom].weak, enemies.get(atom, ()))
            for atom, type_ in evidence.types.items()}

    def join(self, edge: Edge) -> Rule | bool:
        """True: now one person. False: they were before. Else the rule that refuses it."""
        one, other = self._tree[edge.a], self._tree[edge.b]
        if one is other:
            return False
        if len(one.members) < len(other.members):
            one, other = other, one
        rule = self._refuse(one, other, edge)
        if rule is not None:
            return rule
        one.members += other.members
        for type_, n in other.counts.items():
            one.counts[type_] = one.counts.get(type_, 0) + n
        one.confirmed = one.confirmed or other.confirmed
        one.enemies |= other.enemies
        for atom in other.members:
            self._tree[atom] = one
        return True

    def _refuse(self, one: _Tree, other: _Tree, edge: Edge) -> Rule | None:
        if one.enemies and not one.enemies.isdisjoint(other.members):
            return "veto"
        if edge.kind == PIN:
            return None
        for type_, n in other.counts.items():
            held = one.counts.get(type_)
            if held is not None and held + n > self._limits[type_]:
                return "limit"
        if len(one.members) + len(other.members) > self._policy.size:
            return "size"
        if edge.browser and one.confirmed and other.confirmed:
            return "trust"
        return None

    def profiles(self, states: Mapping[bytes, State]) -> dict[bytes, bytes | None]:
        """Atom -> the strongest atom of its tree; None for what is blocked."""
        found: dict[int, bytes] = {}
        result: dict[bytes, bytes | None] = {}
        for atom, tree in self._tree.items():
            if states[atom] is State.BLOCKED:
                result[atom] = None
                continue
            profile = found.get(id(tree))
            if profile is None:
                profile = found[id(tree)] = min(tree.members, key=self._strength.__getitem__)
            result[atom] = profile
        return result
