"""Holds as rows: opened and closed by touchpoints; a closing wakes what was held because of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from percorso_orchestrator.gates import OpenHold
from percorso_orchestrator.holds import HoldChange
from percorso_orchestrator.load import INFINITY_MS
from percorso_orchestrator.save import NEVER
from percorso_orchestrator.world import World
from percorso_shared.clock import to_datetime, to_ms


@dataclass(slots=True)
class _Row:
    person: str
    atom: str
    account: str | None
    covers_account: bool
    opened_at: int
    expires_at: int | None


class HoldTable:
    """The holds that one unit of work touches. Changes are seen at once by the worlds given to it."""

    def __init__(self, connection: Any, workspace: int, worlds: Mapping[str, World]) -> None:
        self._connection, self._workspace, self._worlds = connection, workspace, worlds
        self._rows: dict[tuple[str, str], _Row | None] = {}
        self._closed: list[tuple[_Row, int]] = []
        self._touched: set[tuple[str, str]] = set()

    async def read(self, places: Iterable[tuple[str, str]]) -> None:
        """(name, key); locked in sorted order."""
        ordered = sorted(set(places))
        self._rows = dict.fromkeys(ordered)
        rows = await self._connection.fetch(
            "SELECT h.* FROM orchestrator.hold h JOIN unnest($2::text[], $3::text[]) AS q (name, key) "
            "ON h.name = q.name AND h.key = q.key WHERE h.workspace_id = $1 ORDER BY h.name, h.key FOR UPDATE OF h",
            self._workspace, [name for name, _ in ordered], [key for _, key in ordered])
        for row in rows:
            expires = to_ms(row["expires_at"])
            self._rows[row["name"], row["key"]] = _Row(
                row["person"].hex(), row["atom"].hex(), row["account"], row["covers_account"],
                to_ms(row["opened_at"]), None if expires >= INFINITY_MS else expires)

    def apply(self, change: HoldChange, person: str, atom: str, now_ms: int) -> None:
        """A second opening of an open key changes nothing."""
        place = (change.name, change.key)
        there = self._rows.get(place)
        if change.what == "closes":
            if there is not None:
                self._rows[place] = None
                self._touched.add(place)
                self._closed.append((there, change.at))
                for world in self._worlds.values():
                    world.holds = [hold for hold in world.holds or () if (hold.name, hold.key) != place]
            return
        if there is not None and (there.expires_at is None or there.expires_at > now_ms):
            return
        row = _Row(person, atom, self._worlds[person].account, change.covers_account, change.at, change.expires_at)
        self._rows[place] = row
        self._touched.add(place)
        for world in self._worlds.values():
            if world.person == person or (row.covers_account and row.account is not None
                                          and world.account == row.account):
                world.holds = [*(world.holds or ()), OpenHold(change.name, change.key, change.expires_at)]

    async def write(self, now_ms: int) -> None:
        """After the sends of this unit of work have been written."""
        gone = sorted(place for place in self._touched if self._rows[place] is None)
        there = sorted((place, row) for place in self._touched if (row := self._rows[place]) is not None)
        if gone:
            await self._connection.execute(
                "DELETE FROM orchestrator.hold h USING unnest($2::text[], $3::text[]) AS q (name, key) "
                "WHERE h.workspace_id = $1 AND h.name = q.name AND h.key = q.key", self._workspace,
                [name for name, _ in gone], [key for _, key in gone])
        if there:
            await self._upsert(there)
        if self._closed:
            await self._release(now_ms)

    async def _upsert(self, rows: Sequence[tuple[tuple[str, str], _Row]]) -> None:
        await self._connection.execute(
            """
            INSERT INTO orchestrator.hold (workspace_id, name, key, person, atom, account, covers_account, opened_at,
                expires_at)
            SELECT $1, * FROM unnest($2::text[], $3::text[], $4::uuid[], $5::uuid[], $6::text[], $7::bool[],
                $8::timestamptz[], $9::timestamptz[])
            ON CONFLICT (workspace_id, name, key) DO UPDATE SET person = excluded.person, atom = excluded.atom,
                account = excluded.account, covers_account = excluded.covers_account, opened_at = excluded.opened_at,
                expires_at = excluded.expires_at
            """, self._workspace, [name for (name, _), _ in rows], [key for (_, key), _ in rows],
            [bytes.fromhex(row.person) for _, row in rows], [bytes.fromhex(row.atom) for _, row in rows],
            [row.account for _, row in rows], [row.covers_account for _, row in rows],
            [to_datetime(row.opened_at) for _, row in rows],
            [NEVER if row.expires_at is None else to_datetime(row.expires_at) for _, row in rows])

    async def _release(self, now_ms: int) -> None:
        """Held sends of everybody whom a closed hold covered are judged again, as of the closing."""
        await self._connection.execute(
            """
            UPDATE orchestrator.send s SET not_before = c.at, updated_at = $2
            FROM unnest($3::uuid[], $4::text[], $5::timestamptz[]) AS c (atom, account, at)
            LEFT JOIN identity.pointers pc ON pc.workspace_id = $1 AND pc.atom_id = c.atom,
                 identity.pointers ps LEFT JOIN profile.people who
                     ON who.workspace_id = $1 AND who.profile_id = ps.profile_id
            WHERE s.workspace_id = $1 AND s.state = 'held' AND s.gate = 'hold'
              AND ps.workspace_id = $1 AND ps.atom_id = s.atom
              AND (ps.profile_id = pc.profile_id OR who.account = c.account)
            """, self._workspace, to_datetime(now_ms),
            [bytes.fromhex(row.atom) for row, _ in self._closed],
            [row.account if row.covers_account else None for row, _ in self._closed],
            [to_datetime(at) for _, at in self._closed])
