"""Puts rows of schema `identity` in place, for tests of what reads them: who is who, without the resolver."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from percorso_shared.ids import AtomId, LinkId, atom_id, link_id

_LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


class IdentityRows:
    """`identifiers` are written `type:value`; the first of a link is its strongest."""

    def __init__(self, connection: Any, workspace: int = 1) -> None:
        self.connection, self.workspace = connection, workspace

    def atom(self, identifier: str) -> AtomId:
        type_, _, value = identifier.partition(":")
        return atom_id(self.workspace, type_, value)

    async def link(self, *identifiers: str, profile: str | None = None) -> LinkId:
        """A link at home with its first identifier; new atoms point to `profile`, by default the first identifier."""
        atoms = [self.atom(identifier) for identifier in identifiers]
        person = self.atom(profile) if profile else atoms[0]
        link = link_id(self.workspace, atoms)
        for identifier, atom in zip(identifiers, atoms, strict=True):
            type_, _, value = identifier.partition(":")
            await self.connection.execute(
                "INSERT INTO identity.atom (workspace_id, atom_id, type, value, first_seen) "
                "VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING", self.workspace, atom, type_, value, _LONG_AGO)
            await self.connection.execute(
                "INSERT INTO identity.pointer (workspace_id, atom_id, profile_id, type, state, replay) "
                "VALUES ($1, $2, $3, $4, 0, false) ON CONFLICT DO NOTHING", self.workspace, atom, person, type_)
            if len(atoms) > 1:
                await self.connection.execute(
                    "INSERT INTO identity.membership (workspace_id, atom_id, link_id) VALUES ($1, $2, $3) "
                    "ON CONFLICT DO NOTHING", self.workspace, atom, link)
        await self.connection.execute(
            "INSERT INTO identity.link (workspace_id, link_id, atoms, home, server_time) VALUES ($1, $2, $3, $4, $5) "
            "ON CONFLICT DO NOTHING", self.workspace, link, sorted(atoms), atoms[0], _LONG_AGO)
        return link

    async def point(self, identifiers: Sequence[str], profile: str) -> list[tuple[str, str, str]]:
        """Merge or split: these identifiers belong to `profile` now. Returns the moves (atom, before, after)."""
        moves = []
        for identifier in identifiers:
            atom, after = self.atom(identifier), self.atom(profile)
            before = await self.connection.fetchval(
                "SELECT profile_id FROM identity.pointer WHERE workspace_id = $1 AND atom_id = $2",
                self.workspace, atom)
            await self.connection.execute(
                "UPDATE identity.pointer SET profile_id = $3 WHERE workspace_id = $1 AND atom_id = $2",
                self.workspace, atom, after)
            if before != after:
                moves.append((atom.hex(), before.hex(), after.hex()))
        return moves

    async def slice(self, identifier: str, since: datetime | None, owner: str | None) -> None:
        """From `since` (None: ever) on, the weak identifier's touchpoints are the owner's."""
        await self.connection.execute(
            "INSERT INTO identity.slice (workspace_id, atom_id, since, owner) "
            "VALUES ($1, $2, coalesce($3, '-infinity'::timestamptz), $4)", self.workspace, self.atom(identifier), since,
            self.atom(owner) if owner else None)
