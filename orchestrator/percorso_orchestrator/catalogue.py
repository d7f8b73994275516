"""The published journeys as a worker keeps them in memory, and the index of event names that concern any."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from percorso_orchestrator.definition import Definition, EntryByEvent, Policies
from percorso_orchestrator.holds import hold_names
from percorso_orchestrator.read_journey import read_journey
from percorso_orchestrator.read_policies import NO_POLICIES, read_policies
from percorso_orchestrator.world import names_asked, widest_window, window_lengths
from percorso_shared.clock import to_ms


@dataclass(frozen=True, slots=True)
class Current:
    """The version of a journey that people enter."""

    definition: Definition
    version: int
    published_at: int
    """Of the journey's first version: touchpoints from then on enter."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Every version of every journey of one workspace, at one revision."""

    workspace: int
    revision: int
    policies: Policies = NO_POLICIES
    versions: Mapping[tuple[str, int], Definition] = field(default_factory=dict)
    entries: Mapping[str, tuple[Current, ...]] = field(default_factory=dict)
    """Canonical event name -> journeys that it may enter."""
    paused: frozenset[str] = frozenset()
    heard: frozenset[str] = frozenset()
    """Canonical names that concern any journey; every other touchpoint passes by."""
    hold_names: frozenset[str] = frozenset()
    cap_groups: tuple[str, ...] = ()
    cap_ms: int = 0
    """How far back sends can count against a cap."""

    def history_names(self, journeys: frozenset[tuple[str, int]]) -> frozenset[str]:
        """Events whose past the runs of these versions may look at."""
        names: set[str] = set()
        for version in journeys:
            definition = self.versions[version]
            names |= definition.names_heard() | names_asked(definition)
        return frozenset(names)

    def history_from(self, journeys: frozenset[tuple[str, int]], earliest: int) -> int | None:
        """From when on; `earliest` is the earliest instant of their entries and of what they act on. None = ever."""
        back = 0
        for version in journeys:
            definition = self.versions[version]
            if widest_window(definition) == "ever":
                return None
            back = max(back, window_lengths(definition))
        return earliest - back


@lru_cache(maxsize=1024)
def _definition(text: str) -> Definition:
    return read_journey(text)


@lru_cache(maxsize=64)
def policies_from(text: str) -> Policies:
    """Of one published `_policies.yaml`."""
    return read_policies(text)


async def read_policies_in_force(connection: Any, workspace: int) -> Policies:
    """The newest published policies."""
    text = await connection.fetchval(
        "SELECT text FROM orchestrator.policy_file WHERE workspace_id = $1 ORDER BY version DESC LIMIT 1", workspace)
    return policies_from(text) if text else NO_POLICIES


class Catalogues:
    """Per workspace, read again when the revision has moved on."""

    def __init__(self) -> None:
        self._known: dict[int, Catalogue] = {}

    async def current(self, connection: Any, workspace: int) -> Catalogue:
        """Of this very instant: what is published is seen by the next unit of work."""
        revision = await connection.fetchval(
            "SELECT revision FROM orchestrator.revision WHERE workspace_id = $1", workspace)
        known = self._known.get(workspace)
        if known is None or known.revision != (revision or 0):
            known = self._known[workspace] = await read_catalogue(connection, workspace, revision or 0)
        return known


async def read_catalogue(connection: Any, workspace: int, revision: int) -> Catalogue:
    """Everything published."""
    policies = await read_policies_in_force(connection, workspace)
    rows = await connection.fetch(
        "SELECT name, version, text, state, published_at FROM orchestrator.journey WHERE workspace_id = $1 "
        "ORDER BY name, version", workspace)
    versions: dict[tuple[str, int], Definition] = {}
    first: dict[str, int] = {}
    entries: dict[str, list[Current]] = {}
    paused: set[str] = set()
    heard: set[str] = set(hold_names(policies))
    for row in rows:
        definition = versions[row["name"], row["version"]] = _definition(row["text"])
        first.setdefault(row["name"], to_ms(row["published_at"]))
        heard |= definition.names_heard()
        if row["state"] == "replaced":
            continue
        if row["state"] == "paused":
            paused.add(row["name"])
        elif isinstance(definition.entry, EntryByEvent):
            entries.setdefault(definition.entry.event, []).append(
                Current(definition, row["version"], first[row["name"]]))
    caps = [policy.cap for policy in policies.policies.values() if policy.cap]
    return Catalogue(
        workspace, revision, policies, versions, {name: tuple(found) for name, found in entries.items()},
        frozenset(paused), frozenset(heard | set(entries)), hold_names(policies),
        tuple(sorted({cap.group for cap in caps})),
        max((cap.per.milliseconds for cap in caps), default=0) + 2 * 86_400_000)
