"""Policies and templates as published, read when they are needed and kept: a version never changes."""

from typing import Any

from percorso_orchestrator.definition import Policy
from percorso_orchestrator.read_policies import read_policies
from percorso_orchestrator.templates import Template, from_json

_POLICIES = "SELECT version FROM orchestrator.policy_file WHERE workspace_id = $1 ORDER BY version DESC LIMIT 1"
_POLICY_TEXT = "SELECT text FROM orchestrator.policy_file WHERE workspace_id = $1 AND version = $2"
_TEMPLATES = """
SELECT templates::text FROM orchestrator.journey WHERE workspace_id = $1 AND name = $2 AND version = $3
"""


class Published:
    """What journeys of one workspace refer to by name."""

    def __init__(self, workspace: int) -> None:
        self._workspace = workspace
        self._policies: tuple[int, dict[str, Policy]] = (-1, {})
        self._templates: dict[tuple[str, int], dict[str, Template]] = {}

    async def policies(self, connection: Any) -> dict[str, Policy]:
        """Those in force now."""
        version = await connection.fetchval(_POLICIES, self._workspace)
        if version is None:
            return {}
        if version != self._policies[0]:
            text = await connection.fetchval(_POLICY_TEXT, self._workspace, version)
            self._policies = version, dict(read_policies(text).policies)
        return self._policies[1]

    async def template(self, pool: Any, journey: str, version: int, name: str) -> Template | None:
        """Of the version that a run is pinned to; None if it has no such template."""
        key = journey, version
        if key not in self._templates:
            async with pool.acquire() as connection:
                text = await connection.fetchval(_TEMPLATES, self._workspace, journey, version)
            self._templates[key] = from_json(text) if text else {}
        return self._templates[key].get(name)
