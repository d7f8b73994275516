"""What came of a case, against what is expected of it."""

from collections import defaultdict
from typing import Any

import msgspec

from percorso_identity.normalise import normalise
from percorso_services.commands.check_identity.cases import Case
from percorso_services.commands.check_identity.load import SOURCE, identifier
from percorso_shared import ids
from percorso_shared.history import people_of_links, scan

_ATOMS = """
SELECT a.workspace_id, a.atom_id, a.type || ':' || a.value AS name, p.profile_id
FROM identity.atoms a JOIN identity.pointers p USING (workspace_id, atom_id)
WHERE a.workspace_id = ANY($1::int[]) AND a.state <> 'blocked'
"""

_REFUSED = """
SELECT a.type || ':' || a.value AS a, b.type || ':' || b.value AS b, r.rule
FROM identity.refusals r
JOIN identity.atoms a ON a.workspace_id = r.workspace_id AND a.atom_id = r.a
JOIN identity.atoms b ON b.workspace_id = r.workspace_id AND b.atom_id = r.b
WHERE r.workspace_id = ANY($1::int[])
"""

_TOUCHPOINT = "SELECT link_id, event_time FROM profile.events WHERE workspace_id = $1 AND event_id = $2"
_TRAITS = "SELECT traits::text FROM profile.people WHERE workspace_id = $1 AND profile_id = $2"


class Found:
    """The workspaces of one run."""

    def __init__(self, connection: Any, case: Case, base: int) -> None:
        self._connection, self._case, self._base = connection, case, base
        self._workspaces = sorted({base + event.tenant for event in case.events})
        self._profile: dict[tuple[int, bytes], bytes] = {}
        self._name: dict[bytes, str] = {}

    async def differences(self) -> list[str]:
        """Empty: all is as expected."""
        for row in await self._connection.fetch(_ATOMS, self._workspaces):
            self._profile[row["workspace_id"], row["atom_id"]] = row["profile_id"]
            self._name[row["atom_id"]] = row["name"]
        return [difference async for difference in self._compare()]

    async def _compare(self) -> Any:
        expect = self._case.expect
        people: dict[tuple[int, bytes], list[str]] = defaultdict(list)
        for (workspace, atom), profile in self._profile.items():
            people[workspace, profile].append(self._name[atom])
        partition = sorted(sorted(names) for names in people.values())
        if expect.profiles is not None:
            wanted = sorted(sorted(names) for names in expect.profiles)
            if partition != wanted:
                yield f"profiles: expected {wanted}, found {partition}"
        if expect.n_profiles is not None and len(partition) != expect.n_profiles:
            yield f"n_profiles: expected {expect.n_profiles}, found {len(partition)}: {partition}"
        for event, name in expect.events_of.items():
            found = await self._person_of(event)
            workspace = self._workspace_of(event)
            if found != (None if name is None else self._person(name, workspace)):
                yield f"events_of {event}: expected {name}, found {self._name.get(found or b'', found)}"
        for name, traits in expect.traits.items():
            stored = await self._traits(name)
            for trait, value in traits.items():
                if stored.get(trait) != value:
                    yield f"traits of {name}: {trait}: expected {value!r}, found {stored.get(trait)!r}"
        for name, sets in expect.sets.items():
            stored = await self._traits(name)
            for trait, values in sets.items():
                if _sorted(stored.get(trait)) != _sorted(values):
                    yield f"sets of {name}: {trait}: expected {values!r}, found {stored.get(trait)!r}"
        for name, number in expect.counts.items():
            person = self._person(name, self._base + 1)
            done = 0 if person is None else len(await scan(self._connection, self._base + 1, [person]))
            if done != number:
                yield f"counts of {name}: expected {number}, found {done}"
        for name, wanted_name in expect.canonical.items():
            person = self._person(name, self._base + 1)
            if self._name.get(person or b"") != wanted_name:
                yield f"canonical of {name}: expected {wanted_name}, found {self._name.get(person or b'')}"
        if expect.refused:
            refused = [(frozenset((row["a"], row["b"])), row["rule"])
                       for row in await self._connection.fetch(_REFUSED, self._workspaces)]
            for a, b, rule in expect.refused:
                if (frozenset((a, b)), rule) not in refused:
                    yield f"refused: expected {a} - {b} by {rule}, found {sorted((*sorted(p), r) for p, r in refused)}"

    def _workspace_of(self, event: str) -> int:
        return self._base + next(one.tenant for one in self._case.events if one.id == event)

    def _person(self, name: str, workspace: int) -> bytes | None:
        found = normalise(*identifier(name), self._case.rules())
        return None if found is None else self._profile.get(
            (workspace, ids.atom_id(workspace, found.type, found.value)))

    async def _person_of(self, event: str) -> bytes | None:
        workspace = self._workspace_of(event)
        rows = await self._connection.fetch(_TOUCHPOINT, workspace, ids.event_id(workspace, SOURCE, event))
        if len(rows) != 1:
            return b"stored %d times" % len(rows)
        return (await people_of_links(self._connection, workspace, [(rows[0]["link_id"], rows[0]["event_time"])]))[0]

    async def _traits(self, name: str) -> dict[str, Any]:
        person = self._person(name, self._base + 1)
        text = await self._connection.fetchval(_TRAITS, self._base + 1, person)
        return {} if text is None else msgspec.json.decode(text, type=dict[str, Any])


def _sorted(value: Any) -> list[str] | None:
    return sorted(map(repr, value)) if isinstance(value, list) else None


