"""What the gates are judged by when a row is claimed: read for all rows of a batch at once, in the claim's own
transaction. The number of statements does not depend on the batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from percorso_orchestrator.definition import Policy
from percorso_orchestrator.delivery_ledger import Claimed
from percorso_orchestrator.gates import Facts, OpenHold
from percorso_orchestrator.load import zone_of
from percorso_shared.clock import to_ms

_RUNS = "SELECT run_id FROM orchestrator.run WHERE workspace_id = $1 AND run_id = ANY($2::uuid[]) AND state = 'active'"

_PAUSED = """
SELECT name FROM orchestrator.journey WHERE workspace_id = $1 AND name = ANY($2::text[]) AND state = 'paused'
"""

_PEOPLE = """
SELECT k.atom, p.profile_id, e.traits::text AS traits, e.consent::text AS consent, e.account,
       c.traits::text AS account_traits
FROM unnest($2::uuid[]) AS k (atom)
JOIN identity.pointers p ON p.workspace_id = $1 AND p.atom_id = k.atom
LEFT JOIN profile.people e ON e.workspace_id = $1 AND e.profile_id = p.profile_id
LEFT JOIN profile.accounts c ON c.workspace_id = $1 AND c.account_id = e.account
"""

_EMAILS = """
SELECT DISTINCT ON (p.profile_id) p.profile_id, a.value
FROM identity.pointers p JOIN identity.atoms a ON a.workspace_id = $1 AND a.atom_id = p.atom_id
WHERE p.workspace_id = $1 AND p.profile_id = ANY($2::uuid[]) AND a.type = 'email' AND a.state = 'active'
ORDER BY p.profile_id, a.first_seen, a.value
"""

_HOLDS = """
SELECT q.profile, h.name, h.key, h.expires_at
FROM unnest($2::uuid[]) AS q (profile)
JOIN identity.pointers p ON p.workspace_id = $1 AND p.profile_id = q.profile
JOIN orchestrator.hold h ON h.workspace_id = $1 AND h.atom = p.atom_id
UNION
SELECT q.profile, h.name, h.key, h.expires_at
FROM unnest($2::uuid[], $3::text[]) AS q (profile, account)
JOIN orchestrator.hold h ON h.workspace_id = $1 AND h.account = q.account AND h.covers_account
"""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody a send is for, as known now."""

    profile: bytes
    traits: Mapping[str, Any] = field(default_factory=dict)
    consent: Mapping[str, Any] = field(default_factory=dict)
    account: str | None = None
    account_traits: Mapping[str, Any] = field(default_factory=dict)
    email: str | None = None
    """The trait `email`, else the identifier first seen."""

    @property
    def zone(self) -> str:
        return zone_of(self.traits, self.account_traits)

    @property
    def language(self) -> str | None:
        for name in ("locale", "language", "lang"):
            if isinstance(found := self.traits.get(name), str) and found:
                return found
        return None


@dataclass(frozen=True, slots=True)
class Known:
    """Everything known about the rows of one batch."""

    active_runs: frozenset[bytes]
    paused: frozenset[str]
    people: Mapping[bytes, Person]
    """By atom."""
    holds: Mapping[bytes, Sequence[OpenHold]]
    """By profile: open ones, of whatever name, that cover the person."""

    def person(self, row: Claimed) -> Person:
        """Of a row whose atom points nowhere (erased), somebody of whom nothing is known."""
        return self.people.get(row.atom) or Person(row.person)

    def facts(self, row: Claimed, policy: Policy, address: str) -> Facts:
        person = self.person(row)
        return Facts(
            run_active=row.resend_of is not None or row.run_id in self.active_runs,
            paused=row.journey in self.paused,
            consent=person.consent.get(policy.consent) is True if policy.consent else None,
            zone=person.zone,
            wanted_at=to_ms(row.wanted_at),
            holds=self.holds.get(person.profile, ()),
            cap_sends=None,
            reachable=bool(address))


async def read_facts(connection: Any, workspace: int, rows: Sequence[Claimed]) -> Known:
    """Inside the claim's transaction."""
    runs = await connection.fetch(_RUNS, workspace, sorted({row.run_id for row in rows}))
    paused = await connection.fetch(_PAUSED, workspace, sorted({row.journey for row in rows}))
    found = await connection.fetch(_PEOPLE, workspace, sorted({row.atom for row in rows}))
    traits = {row["atom"]: _json(row["traits"]) for row in found}
    nameless = sorted({row["profile_id"] for row in found if not _address(traits[row["atom"]])})
    emails = {row["profile_id"]: row["value"] for row in await connection.fetch(_EMAILS, workspace, nameless)
              } if nameless else {}
    people = {row["atom"]: Person(
        row["profile_id"], traits[row["atom"]], _json(row["consent"]), row["account"], _json(row["account_traits"]),
        _address(traits[row["atom"]]) or emails.get(row["profile_id"])) for row in found}
    accounts = {person.profile: person.account for person in people.values()}
    profiles = sorted(accounts)
    holds: dict[bytes, list[OpenHold]] = {}
    for row in await connection.fetch(_HOLDS, workspace, profiles, [accounts[profile] for profile in profiles]):
        holds.setdefault(row["profile"], []).append(_open_hold(row))
    return Known(frozenset(row["run_id"] for row in runs), frozenset(row["name"] for row in paused), people, holds)


def _address(traits: Mapping[str, Any]) -> str | None:
    email = traits.get("email")
    return email.strip() if isinstance(email, str) and "@" in email else None


def _json(text: str | None) -> dict[str, Any]:
    found = msgspec.json.decode(text) if text else {}
    return found if isinstance(found, dict) else {}


def _open_hold(row: Any) -> OpenHold:
    expires: datetime = row["expires_at"]
    never = expires.year >= 9999
    return OpenHold(row["name"], row["key"], None if never else to_ms(expires))
