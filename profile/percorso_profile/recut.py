"""Folds the states of shared devices anew from the history, after their slices were cut anew.

Last writer wins cannot be taken back from a state, so what moves from one owner to another is told again. Everybody
else who folds in this workspace waits meanwhile: rare, and a device's own history is short.
"""

from collections.abc import Collection
from typing import Any

import msgspec

from percorso_profile import postgres
from percorso_profile.fold import State, absorb
from percorso_profile.places import fold_alone, slices_of
from percorso_profile.postgres import NO_SLICE, Counters, Key, add_one
from percorso_profile.said import Touchpoint, says
from percorso_shared.clock import to_ms
from percorso_shared.history import links_at

_FORGET = """
WITH counters AS (DELETE FROM profile.counter WHERE workspace_id = $1 AND link_id = ANY($2::uuid[]) RETURNING slice),
     states AS (DELETE FROM profile.link_state WHERE workspace_id = $1 AND link_id = ANY($2::uuid[]) RETURNING slice)
SELECT slice FROM counters UNION SELECT slice FROM states
"""

_PAST = """
SELECT link_id, event_time, event_id, canonical_name, touchpoint FROM profile.event
WHERE workspace_id = $1 AND link_id = ANY($2::uuid[])
"""

_TOUCHPOINT = msgspec.json.Decoder(Touchpoint)


async def fold_slices_anew(connection: Any, workspace: int, atoms: Collection[bytes]) -> set[bytes]:
    """`atoms`: weak identifiers that have other owners than before. Returns the profiles of all owners, before and
    now: their documents have to be folded again."""
    await fold_alone(connection, workspace)
    home_of = {row["link_id"]: row["home"] for row in await links_at(connection, workspace, atoms)}
    slices = await slices_of(connection, workspace, atoms)
    links = sorted(home_of)
    owners = {row["slice"] for row in await connection.fetch(_FORGET, workspace, links)} - {NO_SLICE}
    counters: Counters = {}
    states: dict[Key, State] = {}
    async for link, event_time, event, name, payload in connection.cursor(_PAST, workspace, links, prefetch=1000):
        place = slices.place(home_of[link], to_ms(event_time))
        add_one(counters, (link, place.slice, name), to_ms(event_time))
        said = says(_TOUCHPOINT.decode(payload), name, event.hex())
        if said is not None:
            absorb(states.setdefault((link, place.slice), State()), said)
    await postgres.count(connection, workspace, counters)
    await postgres.write_links(connection, workspace, states)
    people = await postgres.people_of(connection, workspace, owners | slices.owners | set(atoms))
    return {person.profile for person in people.values()}
