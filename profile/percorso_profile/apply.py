"""Folds a batch of resolved touchpoints into history, counters, link states and profile documents.

Everything happens in the caller's transaction, with a number of statements that does not depend on the batch. Locks are
taken table by table (counters, link states, profiles, accounts), in ascending order within each.

A merge may commit while a batch is folded. So profiles are locked first and the pointers read again afterwards: either
the merge is seen here, or whoever handles `identity.changed` waits for the lock and then reads what was written here.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from percorso_profile import postgres
from percorso_profile.append import Row, append
from percorso_profile.fold import State, absorb, join
from percorso_profile.partitions import Month, ensure_months, months_of
from percorso_profile.places import Place, fold_beside_others, places_of
from percorso_profile.postgres import Counters, Document, Key, Person, add_one
from percorso_profile.recut import fold_slices_anew
from percorso_profile.said import AccountSays, Touchpoint, says, says_of_account
from percorso_shared.names import canonical_name
from percorso_shared.topics import IdentityChanged, Resolved

_TOUCHPOINT = msgspec.json.Decoder(Touchpoint)
_NO_CHANGES: dict[str, Any] = {}


class Undigestible(Exception):
    """A record that cannot be folded, by its index in the batch."""

    def __init__(self, index: int, detail: str) -> None:
        super().__init__(f"record {index}: {detail}")
        self.index, self.detail = index, detail


class Outcome(NamedTuple):
    """What became of one touchpoint."""

    source: str
    owner: bytes | None
    """The atom through which it is its person's: the link's home or, of a shared device, the owner of the slice."""
    profile: bytes | None
    """None: nobody's."""
    version: int
    """The profile's version after this touchpoint."""
    changed: dict[str, Any]
    """Traits that changed: name -> present value."""


class Applied(NamedTuple):
    """One outcome per record, in order, and the months that have a partition once the transaction is durable."""

    outcomes: list[Outcome]
    months: set[Month]


class _Batch:
    """A batch, taken apart in memory."""

    def __init__(self, records: Sequence[Resolved]) -> None:
        self.rows: list[Row] = []
        self.homes: list[bytes | None] = []
        self.said: dict[int, State] = {}
        """Index -> what it says of its person."""
        self.of_accounts: list[AccountSays] = []
        names: dict[str, str] = {}
        from_hex, decode, rows, homes = bytes.fromhex, _TOUCHPOINT.decode, self.rows, self.homes
        for index, record in enumerate(records):
            payload = bytes(record.touchpoint)
            try:
                touchpoint = decode(payload)
                name = names.get(touchpoint.name)
                if name is None:
                    name = names[touchpoint.name] = canonical_name(touchpoint.name)
                state = says(touchpoint, name, record.event_id)
                if touchpoint.type == "group" and (account := says_of_account(touchpoint, record.event_id)):
                    self.of_accounts.append(account)
                link = None if record.link is None else from_hex(record.link)
                homes.append(None if record.home is None else from_hex(record.home))
                event = from_hex(record.event_id)
            except (msgspec.MsgspecError, ValueError) as error:
                raise Undigestible(index, str(error)) from error
            rows.append(Row(link, touchpoint.timestamp, event, touchpoint.received_at, touchpoint.source,
                            touchpoint.type, touchpoint.name, name, payload))
            if state is not None:
                self.said[index] = state

    def counters(self, places: Sequence[Place]) -> Counters:
        counters: Counters = {}
        for row, place in zip(self.rows, places, strict=True):
            if row.link is not None:
                add_one(counters, (row.link, place.slice, row.canonical_name), row.event_time)
        return counters


async def apply_resolved(connection: Any, workspace: int, records: Sequence[Resolved], now_ms: int,
                         known: Collection[Month] = ()) -> Applied:
    """`records` are touchpoints of one workspace, each for the first time (identity drops duplicates). `known`: months
    that are known to have a partition. Raises Undigestible."""
    batch = _Batch(records)
    await fold_beside_others(connection, workspace)
    places = await places_of(connection, workspace, [
        (row.link, home, row.event_time) for row, home in zip(batch.rows, batch.homes, strict=True)])
    keys: dict[int, Key] = {
        index: (link, places[index].slice) for index in batch.said if (link := batch.rows[index].link) is not None}
    months = months_of(row.event_time for row in batch.rows)
    await ensure_months(connection, [month for month in months if month not in known])
    await append(connection, workspace, now_ms, batch.rows)
    await postgres.count(connection, workspace, batch.counters(places))
    links = await postgres.lock_links(connection, workspace, set(keys.values()))
    for index, key in keys.items():
        absorb(links[key], batch.said[index])
    owners = [place.owner for place in places]
    people, documents = await _people(connection, workspace, owners, batch.said)
    outcomes = _fold(batch, owners, people, documents)
    await postgres.write_links(connection, workspace, links)
    await postgres.write_profiles(connection, workspace, documents)
    await _apply_to_accounts(connection, workspace, batch.of_accounts)
    return Applied(outcomes, months)


async def _people(connection: Any, workspace: int, owners: Sequence[bytes | None], said: Collection[int],
                  ) -> tuple[dict[bytes, Person], dict[bytes, Document]]:
    """Atom -> person for the whole batch; and, locked, the documents that the batch may change or has to make."""
    people = await postgres.people_of(connection, workspace, {owner for owner in owners if owner is not None})
    speakers = {owner for index in said if (owner := owners[index]) is not None}
    speakers |= {atom for atom, person in people.items() if person.version == 0}
    locked: set[bytes] = set()
    wanted = {people[atom].profile for atom in speakers if atom in people}
    while not wanted <= locked:
        await postgres.lock_profiles(connection, workspace, wanted - locked)
        locked |= wanted
        again = await postgres.people_of(connection, workspace, speakers)
        people |= again
        wanted = {person.profile for person in again.values()}
    await postgres.drop_unused_profiles(connection, workspace, locked - wanted)
    return people, await postgres.read_profiles(connection, workspace, wanted)


def _fold(batch: _Batch, owners: Sequence[bytes | None], people: Mapping[bytes, Person],
          documents: Mapping[bytes, Document]) -> list[Outcome]:
    """The step of the stream, in the batch's order."""
    outcomes: list[Outcome] = []
    for index, (row, owner) in enumerate(zip(batch.rows, owners, strict=True)):
        person = None if owner is None else people.get(owner)
        if person is None:
            outcomes.append(Outcome(row.source, None, None, 0, _NO_CHANGES))
            continue
        document = documents.get(person.profile)
        if document is None:
            outcomes.append(Outcome(row.source, owner, person.profile, person.version, _NO_CHANGES))
            continue
        changed = _NO_CHANGES
        said = batch.said.get(index)
        if said is not None:
            document.said = True
            changes = absorb(document.state, said)
            changed = changes.traits
            if changes and document.version > 0:
                document.changed = True
                document.version += 1
        if document.version == 0:
            document.changed = True
            document.version = 1
        outcomes.append(Outcome(row.source, owner, person.profile, document.version, changed))
    return outcomes


async def _apply_to_accounts(connection: Any, workspace: int, said: Sequence[AccountSays]) -> None:
    documents = await postgres.lock_accounts(connection, workspace, {says.account for says in said})
    for account, state in said:
        document = documents[account]
        if absorb(document.state, state) or document.version == 0:
            document.version += 1
    await postgres.write_accounts(connection, workspace, documents)


async def apply_changes(connection: Any, workspace: int, changes: Sequence[IdentityChanged]) -> None:
    """Folds the documents of all people that merged or split again, from the states of the links that are theirs now;
    drops those of profiles that are no more. A document's version is then above that of all it came from.

    Where a shared identifier has other owners than before, the states of its links are folded anew from the history.
    """
    recut = {bytes.fromhex(recut.atom) for change in changes for recut in change.recuts}
    moves = [(bytes.fromhex(move.before), bytes.fromhex(move.after)) for change in changes for move in change.moves]
    affected = {profile for move in moves for profile in move if profile}
    if recut:
        affected |= await fold_slices_anew(connection, workspace, recut)
    if not affected:
        return
    await postgres.lock_profiles(connection, workspace, affected)
    before = await postgres.read_profiles(connection, workspace, affected)
    states = await postgres.states_of(connection, workspace, affected)
    versions = {profile: document.version for profile, document in before.items()}
    for old, new in moves:
        if old and new:
            versions[new] = max(versions[new], versions[old])
    documents = {}
    for profile, found in states.items():
        document = documents[profile] = Document(versions[profile] + 1, join(found))
        document.changed = True
    await postgres.write_profiles(connection, workspace, documents)
    await postgres.drop_profiles(connection, workspace, affected - states.keys())
