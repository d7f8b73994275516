"""Publishing: from files to versions that runs are pinned to. Unchanged files make no new version."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from percorso_orchestrator.definition import Definition, Outward, Policies
from percorso_orchestrator.journey_folder import TEMPLATES, folder_policies, journey_paths, read_file
from percorso_orchestrator.read_policies import read_policies
from percorso_orchestrator.read_yaml import YamlProblem
from percorso_orchestrator.template_problem import TemplateProblem
from percorso_orchestrator.templates import compile_templates, to_json
from percorso_orchestrator.validate import validate
from percorso_shared.cannot_run import CannotRun
from percorso_shared.clock import to_datetime


class NotPublished(CannotRun):
    """A journey cannot be published; the message says what is wrong and where."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A journey, validated, with everything that its runs will need."""

    definition: Definition
    templates: str
    """JSON of the compiled templates."""

    @property
    def checksum(self) -> str:
        return sha256("\x1f".join((self.definition.text, self.templates)).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Published:
    """What became of one journey. `is_new` False: this version was in force already."""

    name: str
    version: int
    is_new: bool


def prepare(path: Path) -> tuple[Policies, list[Ready]]:
    """Reads, validates and compiles a file or a folder: all of it or nothing. Blocking (templates are compiled in a
    child process). Raises NotPublished."""
    folder = path if path.is_dir() else path.parent
    try:
        policies = folder_policies(folder)
        definitions: dict[str, tuple[Path, Definition]] = {}
        for item in journey_paths(path):
            definition = read_file(item, policies)
            if definition.name in definitions:
                raise YamlProblem(f"{definitions[definition.name][0].name} is a journey {definition.name!r} already",
                                  file=item.name)
            definitions[definition.name] = (item, definition)
        return policies, [_ready(item, definition, policies, folder) for item, definition in definitions.values()]
    except YamlProblem as problem:
        raise NotPublished(str(problem)) from None


def _ready(path: Path, definition: Definition, policies: Policies, folder: Path) -> Ready:
    try:
        validate(definition, policies)
    except YamlProblem as problem:
        raise problem.in_file(path.name) from None
    steps = [node.step for node in definition.program.values() if isinstance(node.step, Outward)]
    wanted = [step.template.text for step in steps if step.channel == "email" and step.template is not None]
    try:
        compiled = compile_templates(folder / TEMPLATES, wanted) if wanted else {}
    except TemplateProblem as problem:
        raise NotPublished(f"{path.name}: {problem}") from None
    return Ready(definition, to_json(compiled))


async def publish(connection: Any, workspace: int, policies: Policies, ready: Sequence[Ready],
                  now_ms: int) -> list[Published]:
    """Stores what changed, in one transaction. Raises NotPublished if a policy that a published journey names would
    be gone."""
    async with connection.transaction():
        await lock_revision(connection, workspace)
        changed = await _store_policies(connection, workspace, policies, {item.definition.name for item in ready},
                                        now_ms) if policies.text else False
        found: list[Published] = []
        for item in ready:
            found.append(await _store(connection, workspace, item, now_ms))
        if changed or any(item.is_new for item in found):
            await next_revision(connection, workspace)
    return found


async def publish_folder(pool: Any, workspace: int, path: Path, now_ms: int) -> list[Published]:
    """Every journey of a folder, as at the first start. Raises NotPublished."""
    import asyncio
    policies, ready = await asyncio.to_thread(prepare, path)
    async with pool.acquire() as connection:
        return await publish(connection, workspace, policies, ready, now_ms)


# --- storing ---------------------------------------------------------------------------------------------------------


async def lock_revision(connection: Any, workspace: int) -> None:
    """One change of journeys at a time."""
    await connection.execute("INSERT INTO orchestrator.revision (workspace_id, revision) VALUES ($1, 0) "
                             "ON CONFLICT (workspace_id) DO NOTHING", workspace)
    await connection.execute("SELECT revision FROM orchestrator.revision WHERE workspace_id = $1 FOR UPDATE", workspace)


async def next_revision(connection: Any, workspace: int) -> None:
    """Workers read journeys again."""
    await connection.execute(
        "UPDATE orchestrator.revision SET revision = revision + 1 WHERE workspace_id = $1", workspace)


async def _store_policies(connection: Any, workspace: int, policies: Policies, replacing: set[str],
                          now_ms: int) -> bool:
    row = await connection.fetchrow(
        "SELECT version, text FROM orchestrator.policy_file WHERE workspace_id = $1 ORDER BY version DESC LIMIT 1",
        workspace)
    if row and row["text"] == policies.text:
        return False
    if row:
        await _keep_policies_in_use(connection, workspace, policies, read_policies(row["text"]).policies)
    await connection.execute(
        "INSERT INTO orchestrator.policy_file (workspace_id, version, text, published_at) VALUES ($1, $2, $3, $4)",
        workspace, row["version"] + 1 if row else 1, policies.text, to_datetime(now_ms))
    return True


async def _keep_policies_in_use(connection: Any, workspace: int, policies: Policies,
                                before: Mapping[str, Any]) -> None:
    """A run of any version may still need a policy."""
    gone = set(before) - set(policies.policies)
    if not gone:
        return
    rows = await connection.fetch(
        "SELECT DISTINCT j.name, j.version, j.text FROM orchestrator.journey j WHERE j.workspace_id = $1 AND ("
        "j.state <> 'replaced' OR EXISTS (SELECT FROM orchestrator.run r WHERE r.workspace_id = $1 "
        "AND r.journey = j.name AND r.version = j.version AND r.state <> 'ended'))", workspace)
    from percorso_orchestrator.read_journey import read_journey
    for row in rows:
        definition = read_journey(row["text"])
        used = {definition.policy} | {node.step.policy for node in definition.program.values()
                                      if isinstance(node.step, Outward)}
        if used & gone:
            raise NotPublished(f"_policies.yaml: {', '.join(sorted(gone & used - {None}))} is used by version "
                               f"{row['version']} of {row['name']}, which has runs or is published")


async def _store(connection: Any, workspace: int, item: Ready, now_ms: int) -> Published:
    name = item.definition.name
    row = await connection.fetchrow(
        "SELECT version, checksum, state FROM orchestrator.journey WHERE workspace_id = $1 AND name = $2 "
        "ORDER BY version DESC LIMIT 1", workspace, name)
    if row and row["checksum"] == item.checksum:
        return Published(name, row["version"], False)
    version = row["version"] + 1 if row else 1
    await connection.execute(
        "UPDATE orchestrator.journey SET state = 'replaced' WHERE workspace_id = $1 AND name = $2 "
        "AND state <> 'replaced'", workspace, name)
    await connection.execute(
        "INSERT INTO orchestrator.journey (workspace_id, name, version, text, checksum, templates, state, "
        "published_at, paused_at, revision) SELECT $1, $2, $3, $4, $5, $6::jsonb, $7, $8, $9, revision + 1 "
        "FROM orchestrator.revision WHERE workspace_id = $1",
        workspace, name, version, item.definition.text, item.checksum, item.templates,
        row["state"] if row else "active", to_datetime(now_ms),
        to_datetime(now_ms) if row and row["state"] == "paused" else None)
    return Published(name, version, True)


# --- looking and pausing ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Listed:
    """A journey in force."""

    name: str
    version: int
    state: str
    published_at: Any
    active: int
    ended: int


_LIST = """
SELECT j.name, j.version, j.state, j.published_at,
       (SELECT count(*) FROM orchestrator.run r
        WHERE r.workspace_id = j.workspace_id AND r.journey = j.name AND r.state = 'active') AS active,
       (SELECT coalesce(sum(t.n), 0) FROM orchestrator.tally t
        WHERE t.workspace_id = j.workspace_id AND t.journey = j.name AND t.name LIKE 'ended:%')::bigint AS ended
FROM orchestrator.journey j WHERE j.workspace_id = $1 AND j.state <> 'replaced' ORDER BY j.name
"""


async def list_journeys(connection: Any, workspace: int) -> list[Listed]:
    """In order of name."""
    return [Listed(**dict(row)) for row in await connection.fetch(_LIST, workspace)]


async def set_paused(connection: Any, workspace: int, name: str, paused: bool, now_ms: int) -> bool:
    """A paused journey lets nobody in and sends nothing; its runs go on when it is resumed. False if there is no such
    journey."""
    async with connection.transaction():
        await lock_revision(connection, workspace)
        found = await connection.fetchval(
            "UPDATE orchestrator.journey SET state = $3, paused_at = CASE WHEN $3 = 'paused' THEN $4::timestamptz END "
            "WHERE workspace_id = $1 AND name = $2 AND state <> 'replaced' RETURNING version",
            workspace, name, "paused" if paused else "active", to_datetime(now_ms))
        if found is None:
            return False
        if not paused:
            await connection.execute(
                "UPDATE orchestrator.send SET not_before = $3, updated_at = $3 WHERE workspace_id = $1 "
                "AND journey = $2 AND state = 'held' AND gate = 'run active' AND not_before IS NULL", workspace, name,
                to_datetime(now_ms))
        await next_revision(connection, workspace)
    return True
