"""A batch of touchpoints of one workspace: duplicates dropped, every other one given its link, home and profile.

One transaction. What nobody else can know yet is written without a lock; only what joins identifiers that others may
know takes the workspace's lock, last, and is resolved with all that is known then.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from percorso_identity import postgres, slices_postgres
from percorso_identity.births import Births, add_new
from percorso_identity.dedup_copy import NewTouch, add_events
from percorso_identity.evidence import Link, Seen
from percorso_identity.identify import Signature
from percorso_identity.memory import Memory
from percorso_identity.policy import Policy
from percorso_identity.postgres import IMPORTED_DAY, KnownLink
from percorso_identity.settle import Changes, recut, settle
from percorso_identity.slices import Slice, owner_at
from percorso_identity.slices_postgres import Chunk
from percorso_shared.bus.port import Connection

DAY_MS = 86_400_000
LOOK_BACK_DAYS = 8
"""How long a message id is remembered."""
BROWSER_LOOK_BACK_MS = 48 * 3_600_000
"""A browser's word about the past counts from here on only: its key is public."""


class Touch(NamedTuple):
    """What identity reads of an accepted touchpoint."""

    event: bytes
    source: str
    browser: bool
    time: int
    received: int
    imported: bool
    logged_out: bool
    signature: Signature | None


class Place(NamedTuple):
    """Where a touchpoint belongs."""

    link: bytes | None
    home: bytes | None
    slice: bytes | None
    profile: bytes | None
    """A hint; None where `slice` is the answer, and with a home but no slice: shared, and nobody's."""


NOWHERE = Place(None, None, None, None)


class Placed(NamedTuple):
    """The answer to a batch."""

    places: list[Place | None]
    """One per touch, in order; None: a duplicate."""
    changes: Changes
    learnt: dict[bytes, KnownLink]
    """What may be remembered once the transaction is durable."""


@dataclass(slots=True)
class Use:
    """What a batch says about one link."""

    signature: Signature
    smallest: bytes
    """Event id."""
    server: Seen | None = None
    browser: Seen | None = None
    logins: list[int] = field(default_factory=list)
    logouts: list[int] = field(default_factory=list)

    def link(self) -> Link:
        return Link(self.signature.link, tuple(atom.id for atom in self.signature.atoms), self.server, self.browser)


async def place_batch(connection: Connection, workspace: int, touches: Sequence[Touch], memory: Memory,
                      policy: Policy, epoch: int, now_ms: int) -> Placed:
    """`policy` and `epoch` come from `postgres.begin` in the same transaction. The number of statements does not depend
    on the number of touches."""
    fresh = await _drop_duplicates(connection, workspace, touches)
    uses = _uses(touch for touch, new in zip(touches, fresh, strict=True) if new)
    known = memory.recall(workspace, epoch, uses)
    unsure = sorted(link for link, use in uses.items() if link not in known or _earlier(use, known[link]))
    if unsure:
        known |= await postgres.known_links(connection, workspace, unsure)
    chunks = [Chunk(link, use.smallest, use.logins, use.logouts)
              for link, use in sorted(uses.items(), key=lambda item: item[0]) if use.logins or use.logouts]
    if chunks:
        await slices_postgres.add_logins(connection, workspace, chunks)
    births = await add_new(connection, workspace, policy, [use for link, use in sorted(
        uses.items(), key=lambda item: item[0]) if link not in known])
    lowered = {link: use for link, use in uses.items()
               if link in births.lost or (link in known and _earlier(use, known[link]))}
    sliced: set[bytes] = {atom.id for chunk in chunks if chunk.link in known and known[chunk.link].sliced
              for atom in uses[chunk.link].signature.atoms if atom.weak}
    changes = Changes()
    if births.joins or lowered or sliced:
        await postgres.lock(connection, workspace)
        changes = await _join(connection, workspace, policy, births, known, lowered, sliced, now_ms)
    known |= _learn(uses, known, births, lowered, changes)
    slices = await _slices(connection, workspace, uses, known)
    places = [_place(touch, known, slices) if new else None for touch, new in zip(touches, fresh, strict=True)]
    return Placed(places, changes, known)


async def _drop_duplicates(connection: Connection, workspace: int, touches: Sequence[Touch]) -> list[bool]:
    """Per touch: did nobody see it before? Of two in the batch the first counts."""
    first: dict[bytes, NewTouch] = {}
    for touch in touches:
        if touch.event not in first:
            day = IMPORTED_DAY if touch.imported else touch.received // DAY_MS
            link = touch.signature.link if touch.signature is not None else None
            first[touch.event] = NewTouch(touch.event, day, link, touch.time, touch.received, touch.source)
    days = {day for row in first.values() for day in range(row.day - LOOK_BACK_DAYS, row.day + LOOK_BACK_DAYS + 1)}
    events = sorted(first)
    seen = await postgres.seen_events(connection, workspace, events, sorted(days | {IMPORTED_DAY}))
    added = first.keys() - seen
    if added:
        await add_events(connection, workspace, [first[event] for event in events if event not in seen])
    fresh = []
    for touch in touches:
        fresh.append(touch.event in added)
        added.discard(touch.event)
    return fresh


def _uses(touches: Iterable[Touch]) -> dict[bytes, Use]:
    uses: dict[bytes, Use] = {}
    for event, _, browser, time, received, _, logged_out, signature in touches:
        if signature is None:
            continue
        use = uses.get(signature.link)
        if use is None:
            use = uses[signature.link] = Use(signature, event)
        elif event < use.smallest:
            use.smallest = event
        if browser:
            time = max(time, received - BROWSER_LOOK_BACK_MS)
            if use.browser is None or (time, event) < use.browser:
                use.browser = Seen(time, event)
        elif use.server is None or (time, event) < use.server:
            use.server = Seen(time, event)
        if logged_out:
            use.logouts.append(time)
        elif signature.mixed:
            use.logins.append(time)
    return uses


def _earlier(use: Use, known: KnownLink) -> bool:
    """Does the batch hold an earlier first touchpoint of the link than the one known, or one of another trust?"""
    return ((use.server is not None and (known.server is None or use.server < known.server))
            or (use.browser is not None and (known.browser is None or use.browser < known.browser)))


async def _join(connection: Connection, workspace: int, policy: Policy, births: Births,
                known: Mapping[bytes, KnownLink], lowered: Mapping[bytes, Use], sliced: set[bytes],
                now_ms: int) -> Changes:
    """Under the lock: everything that bears on identifiers which others may know."""
    start = set(births.joins)
    if lowered:
        await postgres.lower_links(connection, workspace, [
            (link, use.server, use.browser) for link, use in sorted(lowered.items(), key=lambda item: item[0])])
        pointers = await postgres.pointers(
            connection, workspace, {atom.id for use in lowered.values() for atom in use.signature.atoms})
        for link, use in lowered.items():
            if _matters(use, known.get(link), pointers):
                start.update(atom.id for atom in use.signature.atoms)
    changes = Changes()
    if start:
        changes = await settle(connection, workspace, policy, start, cause="touchpoint", now_ms=now_ms,
                               born=births.atoms)
    left = sliced - changes.cut
    if left:
        again = await recut(connection, workspace, policy, left)
        changes.recuts += again.recuts
        changes.sliced |= again.sliced
    return changes


def _matters(use: Use, known: KnownLink | None, pointers: Mapping[bytes, postgres.Pointer]) -> bool:
    """An earlier first time changes something only where edges are refused, a new trust only where edges may be."""
    if known is None or (known.server is None and use.server is not None):
        return True
    return any(pointers[atom.id].replay for atom in use.signature.atoms)


def _learn(uses: Mapping[bytes, Use], known: Mapping[bytes, KnownLink], births: Births, lowered: Mapping[bytes, Use],
           changes: Changes) -> dict[bytes, KnownLink]:
    """What is known after the batch of links that it made or changed."""
    learnt: dict[bytes, KnownLink] = {}
    for link, use in uses.items():
        old = known.get(link)
        if (old is not None and link not in lowered and link not in changes.homes
                and old.home not in changes.pointers):
            continue
        home = changes.homes.get(link, old.home if old is not None else births.homes.get(link))
        pointer = changes.pointers.get(home) if home is not None else None
        if pointer is not None:
            profile = pointer.profile
        else:
            profile = old.profile if old is not None else births.profiles.get(home) if home is not None else None
        server, browser = (old.server, old.browser) if old is not None else (None, None)
        sliced = old is not None and old.sliced
        if changes.sliced and not sliced:
            sliced = any(atom.id in changes.sliced for atom in use.signature.atoms)
        learnt[link] = KnownLink(home, profile, _first(server, use.server), _first(browser, use.browser), sliced)
    return learnt


def _first(one: Seen | None, other: Seen | None) -> Seen | None:
    return min(one, other) if one is not None and other is not None else one or other


async def _slices(connection: Connection, workspace: int, uses: Mapping[bytes, Use],
                  known: Mapping[bytes, KnownLink]) -> dict[bytes, list[Slice]]:
    """Home -> slices, for the links in `uses` that hold only weak identifiers, one of which is shared."""
    homes = {known[link].home for link, use in uses.items() if known[link].sliced and not use.signature.strong}
    wanted = sorted(home for home in homes if home is not None)
    return await slices_postgres.slices_of(connection, workspace, wanted) if wanted else {}


def _place(touch: Touch, known: Mapping[bytes, KnownLink], slices: Mapping[bytes, list[Slice]]) -> Place:
    signature = touch.signature
    if signature is None or not signature.usable:
        return NOWHERE
    entry = known[signature.link]
    cuts = slices.get(entry.home) if entry.home is not None and slices and not signature.strong else None
    if cuts is None:
        return Place(signature.link, entry.home, None, entry.profile or entry.home)
    owner = owner_at(cuts, touch.time)
    return Place(signature.link, entry.home, owner, None)
