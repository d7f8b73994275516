"""Whose a touchpoint is at the moment of folding, and under which key its link's state is kept.

A touchpoint waits on the bus between its resolution and its folding; meanwhile a shared device may have got other
owners. So slices are read here, under a lock that those who fold them anew (`recut.py`) take alone.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from percorso_profile.postgres import NO_SLICE
from percorso_shared.clock import to_ms

_LOCK = 0x5045_5253

_BESIDE_OTHERS = "SELECT pg_advisory_xact_lock_shared($1, $2)"
_ALONE = "SELECT pg_advisory_xact_lock($1, $2)"
_HOMES = "SELECT link_id, home FROM identity.links WHERE workspace_id = $1 AND link_id = ANY($2::uuid[])"
_SLICES = """
SELECT atom_id, nullif(since, '-infinity'), owner FROM identity.slices
WHERE workspace_id = $1 AND atom_id = ANY($2::uuid[]) ORDER BY atom_id, since
"""


_EVER = -(1 << 62)


class Place(NamedTuple):
    """Where one touchpoint belongs."""

    owner: bytes | None
    """The atom whose person it is; None: nobody's."""
    slice: bytes
    """The slice's owner, or NO_SLICE."""


NOWHERE = Place(None, NO_SLICE)
Touch = tuple[bytes | None, bytes | None, int]
"""(link, home, event time)."""


async def fold_beside_others(connection: Any, workspace: int) -> None:
    """Until the end of the transaction nobody folds slices of this workspace anew."""
    await connection.execute(_BESIDE_OTHERS, _LOCK, workspace)


async def fold_alone(connection: Any, workspace: int) -> None:
    """Waits until every fold under way is durable, and keeps new ones waiting."""
    await connection.execute(_ALONE, _LOCK, workspace)


class Slices:
    """Whose some weak atoms are at which time."""

    def __init__(self, rows: Iterable[Any]) -> None:
        self._since: dict[bytes, list[int]] = {}
        self._owner: dict[bytes, list[bytes | None]] = {}
        for atom, since, owner in rows:
            self._since.setdefault(atom, []).append(_EVER if since is None else to_ms(since))
            self._owner.setdefault(atom, []).append(owner)

    @property
    def owners(self) -> set[bytes]:
        return {owner for owners in self._owner.values() for owner in owners if owner is not None}

    def place(self, home: bytes | None, at: int) -> Place:
        """Of a touchpoint of a link with this home."""
        if home is None:
            return NOWHERE
        since = self._since.get(home)
        if since is None:
            return Place(home, NO_SLICE)
        owner = self._owner[home][max(0, bisect_right(since, at) - 1)]
        return NOWHERE if owner is None else Place(owner, owner)


async def slices_of(connection: Any, workspace: int, atoms: Iterable[bytes]) -> Slices:
    return Slices(await connection.fetch(_SLICES, workspace, sorted(atoms)))


async def places_of(connection: Any, workspace: int, touches: Sequence[Touch]) -> list[Place]:
    """One per touch, in order. Who was nobody when the touchpoint was resolved may be somebody by now."""
    homeless = {link for link, home, _ in touches if link is not None and home is None}
    found = {row["link_id"]: row["home"] for row in await connection.fetch(_HOMES, workspace, sorted(homeless))
             } if homeless else {}
    homes = [home if home is not None or link is None else found.get(link) for link, home, _ in touches]
    slices = await slices_of(connection, workspace, {home for home in homes if home is not None})
    return [slices.place(home, at) for home, (_, _, at) in zip(homes, touches, strict=True)]
