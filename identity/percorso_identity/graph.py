"""The atoms of some evidence with their rules, and what the block list leaves of each link."""

from percorso_identity.evidence import Evidence, Link
from percorso_identity.policy import Policy, TypeRule


class Graph:
    """Read-only once built."""

    def __init__(self, evidence: Evidence, policy: Policy) -> None:
        rules = {type_: policy.rule(type_) for type_ in set(evidence.types.values())}
        self.rule: dict[bytes, TypeRule] = {atom: rules[type_] for atom, type_ in evidence.types.items()}
        self.strength: dict[bytes, bytes] = {
            atom: bytes((rule.rank,)) + atom for atom, rule in self.rule.items()}
        """Sorts the strongest first."""
        strength, blocked = self.strength.__getitem__, evidence.blocked
        self.usable: list[tuple[Link, list[bytes]]] = [
            (link, sorted((atom for atom in link.atoms if atom not in blocked), key=strength))
            for link in evidence.links]
        """Each link with its atoms that are not blocked, strongest first."""
