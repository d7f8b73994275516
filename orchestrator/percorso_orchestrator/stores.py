"""Where this context keeps personal data. Everything of a run hangs on the home atom of its entry touchpoint."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from percorso_shared.stores import Erase, Store, Subject

_JSON = frozenset({"body", "payload", "detail", "headers"})

_RUNS = "FROM orchestrator.run WHERE workspace_id = $1 AND atom = ANY($2::uuid[])"
_SENDS = "FROM orchestrator.send WHERE workspace_id = $1 AND atom = ANY($2::uuid[])"
_HOLDS = "FROM orchestrator.hold WHERE workspace_id = $1 AND atom = ANY($2::uuid[])"
_DECISIONS = """
FROM orchestrator.decision WHERE workspace_id = $1 AND (person = ANY($2::uuid[]) OR run_id IN (
    SELECT r.run_id FROM orchestrator.run r WHERE r.workspace_id = $1 AND r.atom = ANY($2::uuid[])))
"""
_MAILS = """
FROM orchestrator.mail WHERE workspace_id = $1 AND (lower("to") = ANY($3::text[]) OR send_id IN (
    SELECT s.send_id FROM orchestrator.send s WHERE s.workspace_id = $1 AND s.atom = ANY($2::uuid[])))
"""

_ERASE_RUNS = f"""
WITH gone AS (DELETE {_RUNS} RETURNING run_id, atom, journey, version, state),
     timers AS (DELETE FROM orchestrator.timer t USING gone WHERE t.workspace_id = $1 AND t.run_id = gone.run_id),
     listening AS (DELETE FROM orchestrator.subscription s USING gone
                   WHERE s.workspace_id = $1 AND s.atom = gone.atom AND s.run_id = gone.run_id),
     counted AS (INSERT INTO orchestrator.tally AS t (workspace_id, journey, version, name, n)
                 SELECT $1, journey, version, 'ended:erased', count(*) FROM gone WHERE state = 'active'
                 GROUP BY journey, version
                 ON CONFLICT (workspace_id, journey, version, name) DO UPDATE SET n = t.n + excluded.n)
SELECT count(*) FROM gone
"""


def _atoms(subject: Subject) -> list[bytes]:
    """Every profile id, present or old, is one of them."""
    return sorted({*subject.atoms, *subject.profiles})


def _addresses(subject: Subject) -> list[str]:
    return sorted(value.lower() for type_, value in subject.identifiers if type_ == "email")


def _plain(row: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in row.items():
        if name == "workspace_id":
            continue
        if isinstance(value, bytes):
            value = value.hex()
        elif name in _JSON and isinstance(value, str):
            value = msgspec.json.decode(value)
        elif hasattr(value, "isoformat"):
            value = value.isoformat()
        found[name] = value
    return found


def _export(what: str) -> Any:
    async def export(connection: Any, subject: Subject) -> Sequence[Mapping[str, Any]]:
        return [_plain(row) for row in await connection.fetch(f"SELECT * {what}", subject.workspace, _atoms(subject))]

    return export


def _erase(what: str) -> Erase:
    async def erase(connection: Any, subject: Subject) -> int:
        return _removed(await connection.execute(f"DELETE {what}", subject.workspace, _atoms(subject)))

    return erase


def _removed(status: str) -> int:
    return int(status.rsplit(" ", 1)[1])


async def _export_mails(connection: Any, subject: Subject) -> Sequence[Mapping[str, Any]]:
    return [_plain(row) for row in await connection.fetch(
        f"SELECT * {_MAILS}", subject.workspace, _atoms(subject), _addresses(subject))]


async def _erase_mails(connection: Any, subject: Subject) -> int:
    return _removed(await connection.execute(
        f"DELETE {_MAILS}", subject.workspace, _atoms(subject), _addresses(subject)))


async def _erase_runs(connection: Any, subject: Subject) -> int:
    """With their timers and subscriptions; the active ones are counted as ended, so that the sums stay right."""
    return int(await connection.fetchval(_ERASE_RUNS, subject.workspace, _atoms(subject)))


async def _erase_arms(connection: Any, subject: Subject) -> int:
    removed = await connection.execute(
        "DELETE FROM orchestrator.exposure WHERE workspace_id = $1 AND atom = ANY($2::uuid[])",
        subject.workspace, _atoms(subject))
    return _removed(removed)


STORES: Sequence[Store] = (
    Store("mails", ("orchestrator.mail",), _export_mails, _erase_mails),
    Store("decisions", ("orchestrator.decision",), _export(_DECISIONS), _erase(_DECISIONS)),
    Store("sends", ("orchestrator.send",), _export(_SENDS), _erase(_SENDS)),
    Store("holds", ("orchestrator.hold",), _export(_HOLDS), _erase(_HOLDS)),
    Store("arms", ("orchestrator.exposure",),
          _export("FROM orchestrator.exposure WHERE workspace_id = $1 AND atom = ANY($2::uuid[])"), _erase_arms),
    Store("runs", ("orchestrator.run", "orchestrator.timer", "orchestrator.subscription"), _export(_RUNS), _erase_runs),
)
"""In this order: mails and decisions are found through sends and runs."""

WITHOUT_PERSONAL_DATA: Mapping[str, str] = {
    "orchestrator.journey": "what a workspace published, no person in it",
    "orchestrator.policy_file": "what a workspace published, no person in it",
    "orchestrator.revision": "a number",
    "orchestrator.destination": "addresses of machines that webhooks go to",
    "orchestrator.person": "profile ids (hashes) only, to be locked",
    "orchestrator.tally": "counters",
}
