"""What became of the people who walked through the demo shop, asked of the query API."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from percorso_services.demo_walk import Pace, ShopTrouble, Walked

JOURNEY = "demo-registration"
MARGIN = 1.5
"""Seconds before a deadline from which either outcome is right: a confirmation may cross the mail."""
LAG = 10.0
"""Seconds after a deadline until which either outcome is right: on a busy machine a mail leaves a little later than it
is due, and a confirmation that is known by then stops it."""


@dataclass
class Outcome:
    profiles: int = 0
    runs: Counter[str] = field(default_factory=Counter)
    """`under way`, `finished`, `exit confirmed` ... -> runs."""
    mails: Counter[str] = field(default_factory=Counter)
    """Template -> mails that were sent."""
    not_sent: Counter[str] = field(default_factory=Counter)
    """Template and reason -> mails that were not."""
    in_mailbox: int = 0
    surprises: list[str] = field(default_factory=list)
    """Who was mailed though they had confirmed before, or was not though they had not."""

    @property
    def settled(self) -> bool:
        return self.profiles > 0 and not self.runs["under way"] and not self.runs["none"]


async def read_outcome(private: str, secret: str, people: Sequence[Walked], pace: Pace, together: int = 10) -> Outcome:
    """Raises ShopTrouble if the query API does not answer."""
    outcome, gate = Outcome(), asyncio.Semaphore(together)
    async with httpx.AsyncClient(base_url=private, headers={"Authorization": f"Bearer {secret}"}, timeout=30) as client:

        async def look(walked: Walked) -> None:
            email = walked.walker.email
            async with gate:
                person = await _get(client, f"/v1/profiles/email:{email}", include="messages,journeys")
                mails = await _get(client, "/v1/mailbox", to=email, limit="20")
            if person is not None:
                add_person(outcome, walked, pace, person)
            outcome.in_mailbox += len(mails["data"]) if mails else 0

        async with asyncio.TaskGroup() as group:
            for walked in people:
                group.create_task(look(walked))
    return outcome


def add_person(outcome: Outcome, walked: Walked, pace: Pace, person: dict[str, Any]) -> None:
    """Counts one person's answer of the query API in."""
    outcome.profiles += 1
    runs = [run for run in person.get("journeys", []) if run["journey"] == JOURNEY]
    for run in runs:
        ended = " ".join(filter(None, (run["ended_reason"], run["ended_as"])))
        outcome.runs[ended or "under way" if run["state"] == "ended" else "under way"] += 1
    if not runs:
        outcome.runs["none"] += 1
    sent = Counter(send["template"] for send in person.get("messages", []) if send["state"] == "sent")
    outcome.mails.update(sent)
    for send in person.get("messages", []):
        if send["state"] != "sent":
            outcome.not_sent[f"{send['template']}: {send['state']} {send['reason'] or ''}".strip()] += 1
    _compare(outcome, walked, pace, sent)


def _compare(outcome: Outcome, walked: Walked, pace: Pace, sent: Counter[str]) -> None:
    after, walker = walked.confirmed_after, walked.walker
    for template, due, agreed in (("registration/confirm-link", pace.reminds, True),
                                  ("registration/benefits", pace.ends, walker.consent)):
        expected = int(agreed and (after is None or after[0] > due))
        undecided = agreed and after is not None and after[0] - LAG <= due <= after[1] + MARGIN
        if sent[template] != expected and not (undecided and sent[template] <= 1):
            did = "never confirmed" if after is None else f"confirmed after {after[0]:.1f} to {after[1]:.1f} s"
            outcome.surprises.append(
                f"{walker.email} {did}: {template} was sent {sent[template]} times, not {expected}")


async def _get(client: httpx.AsyncClient, address: str, **parameters: str) -> dict[str, Any] | None:
    """None: 404."""
    try:
        answer = await client.get(address, params=parameters)
    except httpx.TransportError as error:
        raise ShopTrouble(f"the query API cannot be reached: {error or type(error).__name__}") from error
    if answer.status_code == 404:
        return None
    if answer.status_code != 200:
        raise ShopTrouble(f"the query API answered {answer.status_code}: {answer.text[:200]}")
    body: dict[str, Any] = answer.json()
    return body
