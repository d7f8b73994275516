"""From the address of a profile to the profile."""

import re
from typing import Any
from urllib.parse import unquote

from percorso_identity.normalise import normalise
from percorso_identity.policy import DEFAULT, Policy
from percorso_identity.postgres import begin
from percorso_services.profile_api.problems import NotFound
from percorso_shared.ids import AtomId, atom_id
from percorso_shared.process import ASGIApp

PREFIX = "/v1/profiles/"

_ID = re.compile(r"[0-9a-f]{32}")
_POINTER = "SELECT profile_id FROM identity.pointers WHERE workspace_id = $1 AND atom_id = $2"


def keep_encoded(app: ASGIApp) -> ASGIApp:
    """Below /v1/profiles/ the path stays percent-encoded, so that a value may hold `%2F`."""

    async def middleware(scope: Any, receive: Any, send: Any) -> None:
        raw = scope.get("raw_path")
        if scope["type"] == "http" and raw and raw.startswith(PREFIX.encode()) and b"%" in raw:
            scope = {**scope, "path": raw.decode("ascii", "replace")}
        await app(scope, receive, send)

    return middleware


def atoms_meant(workspace: int, address: str, policy: Policy = DEFAULT) -> list[AtomId]:
    """The atoms that an address may mean, most likely first. `address` is one path segment, still percent-encoded:
    `type:value`, a profile id, or a user id."""
    type_, colon, value = address.partition(":")
    if colon:
        return _atom(workspace, unquote(type_), unquote(value), policy)
    whole = unquote(address)
    meant = [AtomId(bytes.fromhex(whole))] if _ID.fullmatch(whole) else []
    meant += _atom(workspace, "user_id", whole, policy)
    type_, colon, value = whole.partition(":")
    return meant + (_atom(workspace, type_, value, policy) if colon else [])


def _atom(workspace: int, type_: str, value: str, policy: Policy) -> list[AtomId]:
    identifier = normalise(type_, value, policy)
    return [] if identifier is None else [atom_id(workspace, identifier.type, identifier.value)]


async def find_profile(connection: Any, workspace: int, address: str) -> bytes:
    """The present profile: an old id of a merged one, or any identifier, leads to it. Raises NotFound."""
    policy = (await begin(connection, workspace)).policy
    for atom in atoms_meant(workspace, address, policy):
        profile: bytes | None = await connection.fetchval(_POINTER, workspace, atom)
        if profile is not None:
            return profile
    raise NotFound("nobody is known by this identifier")
