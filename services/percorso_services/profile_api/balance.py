"""Does everything that was accepted add up? Pure arithmetic on counted outcomes.

What a stage has worked on is counted in the transactions that did it: exact. What is in flight is what the bus holds
unread for the stage: exact in sum. Which source it is of is told by the counters of the stage before; ingest's are
flushed once a second, so that shares among sources may be a second behind, never the sum.
"""

from collections.abc import Mapping
from dataclasses import dataclass

Counts = Mapping[tuple[str, str, str], int]
"""(source, stage, outcome) -> n."""

INGEST, IDENTITY, PROFILE = "ingest_api", "identity_worker", "profile_worker"
WORKED_ON = ("resolved", "duplicate", "set_aside", "erased")
BEFORE = {IDENTITY: (INGEST, "accepted"), PROFILE: (IDENTITY, "resolved")}
"""Stage -> (the stage before, the outcome there that is handed on)."""


@dataclass(frozen=True, slots=True)
class Line:
    """accepted = resolved + duplicate + set_aside + erased + in_flight; refused stands beside it."""

    source: str
    stage: str
    accepted: int
    resolved: int
    duplicate: int
    set_aside: int
    erased: int
    in_flight: int
    refused: int


def balance(counts: Counts, unread: Mapping[str, int]) -> list[Line]:
    """`unread`: stage -> touchpoints that the bus holds for it. Sorted by source, then along the pipeline."""
    sources = sorted({source for source, _, _ in counts})
    lines: list[Line] = []
    for source in sources:
        believed = counts.get((source, INGEST, "accepted"), 0)
        refused = counts.get((source, INGEST, "refused"), 0)
        if believed or refused:
            lines.append(Line(source, INGEST, believed, believed, 0, 0, 0, 0, refused))
    for stage, (before, handed_on) in BEFORE.items():
        worked = {source: {outcome: counts.get((source, stage, outcome), 0) for outcome in WORKED_ON}
                  for source in sources}
        missing = {source: max(0, counts.get((source, before, handed_on), 0) - sum(worked[source].values()))
                   for source in sources}
        flying = share(unread.get(stage, 0), missing)
        for source in sources:
            if any(worked[source].values()) or flying.get(source):
                lines.append(Line(
                    source, stage, sum(worked[source].values()) + flying.get(source, 0), **worked[source],
                    in_flight=flying.get(source, 0), refused=0))
    if not sources and any(unread.values()):
        lines += [Line("", stage, n, 0, 0, 0, 0, n, 0) for stage, n in unread.items() if n]
    order = (INGEST, *BEFORE)
    return sorted(lines, key=lambda line: (line.source, order.index(line.stage)))


def share(total: int, weights: Mapping[str, int]) -> dict[str, int]:
    """Splits `total` in proportion to the weights (evenly if all are 0) into whole numbers that add up to it."""
    if not weights or total <= 0:
        return {}
    if not any(weights.values()):
        weights = dict.fromkeys(weights, 1)
    whole = sum(weights.values())
    parts = {name: total * weight // whole for name, weight in weights.items()}
    rest = total - sum(parts.values())
    for name in sorted(weights, key=lambda name: (-(total * weights[name] % whole), name))[:rest]:
        parts[name] += 1
    return parts
