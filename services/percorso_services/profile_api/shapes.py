"""The shapes of answers, for the description at /openapi.json. Instants are ISO 8601 in UTC, ids 32 hex digits."""

from typing import Any, Generic, TypeVar

from pydantic import BaseModel, Field

Item = TypeVar("Item")
Object = dict[str, Any]


class Page(BaseModel, Generic[Item]):
    data: list[Item]
    next: str | None = Field(description="cursor of the next page; null: this was the last")


class Identifier(BaseModel):
    type: str
    value: str


class KnownIdentifier(Identifier):
    state: str = Field(description="active, hub or blocked")
    first_seen: str


class Counters(BaseModel):
    touchpoints: int
    by_name: dict[str, int]


class Account(BaseModel):
    id: str
    version: int
    traits: Object


class Link(BaseModel):
    id: str
    identifiers: list[Identifier]
    from_: str | None = Field(None, alias="from", description="of a shared device: since when it is this person's")
    to: str | None = None


class Life(BaseModel):
    stage: str
    at: str


class Event(BaseModel):
    id: str
    message_id: str
    source: str
    type: str
    name: str
    profile: str | None = Field(description="whose it is at present")
    timestamp: str
    original_timestamp: str | None
    received_at: str
    account: str | None
    identifiers: list[Identifier]
    properties: Object
    context: Object
    traits: Object
    set_once: Object
    add: Object
    flags: list[str]
    life: list[Life]


class Send(BaseModel):
    id: str
    profile: str | None
    journey: str
    version: int
    run: str
    step: str
    visit: int
    channel: str
    address: str
    template: str | None
    state: str
    gate: str | None
    reason: str | None
    due_at: str
    not_before: str | None
    attempts: int
    idempotency_key: str
    message_id: str | None
    response: str | None
    resend_of: str | None
    created_at: str
    updated_at: str
    sent_at: str | None


class Run(BaseModel):
    id: str
    profile: str | None
    journey: str
    version: int
    key: str
    state: str
    ended_reason: str | None
    ended_as: str | None
    entered_at: str
    ended_at: str | None
    entry_event: str | None
    step: str | None
    due_at: str | None
    goal_at: str | None
    goal_value: float | None


class Profile(BaseModel):
    """The parts that `include` did not ask for are missing."""

    id: str
    version: int = Field(description="goes up whenever a trait, a consent or the account looks different")
    counters: Counters
    first_seen: str | None
    last_seen: str | None
    traits: Object = {}
    sets: dict[str, list[Any]] = {}
    consent: dict[str, bool] = {}
    provenance: dict[str, Object] = {}
    identifiers: list[KnownIdentifier] = []
    account: Account | None = None
    links: list[Link] = []
    events: list[Event] = []
    messages: list[Send] = []
    journeys: list[Run] = []


class Section(BaseModel):
    """One of them, with what belongs to it."""

    traits: Object = {}
    sets: dict[str, list[Any]] = {}
    consent: dict[str, bool] = {}
    provenance: dict[str, Object] = {}
    identifiers: list[KnownIdentifier] = []
    account: Account | None = None
    links: list[Link] = []


class Erased(BaseModel):
    id: str
    erased: dict[str, int] = Field(description="store -> rows")
    bus_days: int = Field(description="records on the bus and the spool expire after so many days")


class Mail(BaseModel):
    id: str
    to: str
    subject: str
    text: str
    html: str
    headers: Object
    at: str
    send: str | None


class Journey(BaseModel):
    name: str
    version: int
    state: str
    published_at: str
    paused_at: str | None
    numbers: dict[str, int]


class Numbers(BaseModel):
    version: int
    numbers: dict[str, int]


class Line(BaseModel):
    at: str
    kind: str
    step: str | None
    reason: str | None
    detail: Object
    event: str | None


class RunStory(BaseModel):
    id: str
    version: int
    key: str
    state: str
    ended_reason: str | None
    ended_as: str | None
    entered_at: str
    ended_at: str | None
    step: str | None
    due_at: str | None
    goal_at: str | None
    trace: list[Line]


class Considered(BaseModel):
    event: str
    name: str
    at: str
    says: str


class Why(BaseModel):
    journey: str
    version: int
    state: str
    profile: str
    zone: str
    summary: str
    runs: list[RunStory]
    not_entered: list[Line]
    considered: list[Considered]


class Quarantined(BaseModel):
    id: str
    reason: str
    detail: str
    source: str | None
    stage: str
    received_at: str
    size: int
    readable: bool
    body_base64: str | None


class Balance(BaseModel):
    source: str
    stage: str
    accepted: int
    resolved: int
    duplicate: int
    set_aside: int
    erased: int
    in_flight: int
    refused: int


class Source(BaseModel):
    name: str
    kind: str
    enabled: bool
    aliases: list[str]
    created_at: str


class ProblemDetail(BaseModel):
    type: str
    title: str
    status: int
    detail: str


PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": description, "content": {
        "application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDetail"}}}}
    for status, description in (
        (400, "a parameter cannot be understood"), (401, "no valid key"),
        (403, "the key's scope does not reach that far"), (404, "nothing is known by that name"),
        (503, "the database or the bus cannot be reached now"), (504, "the receipt is not folded in after 5 s"))}
