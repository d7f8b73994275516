"""Whether a touchpoint lets its person into a journey."""

from collections.abc import Sequence
from dataclasses import dataclass

from percorso_orchestrator.calendar import add
from percorso_orchestrator.definition import Definition, EntryByEvent
from percorso_orchestrator.model import Event, Json
from percorso_orchestrator.world import World, holds_true, key_of

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Prior:
    """An earlier run of the same person, journey and key."""

    run_id: str
    entered_at: int
    active: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """Whether a touchpoint starts a run. `refused`: why not (None: it is simply no entry); `restarts`: the active run
    that it ends."""

    enters: bool
    refused: str | None = None
    key: str = ""
    key_value: Json = None
    restarts: str | None = None
    errors: tuple[str, ...] = ()


def consider_entry(definition: Definition, event: Event, priors: Sequence[Prior] | None, world: World, *,
                   published_at: int | None) -> Entry:
    """`priors`: earlier runs of this key; None = not looked up yet: the answer then is about the touchpoint alone.
    `published_at` None: as if it had always been published (tests)."""
    entry = definition.entry
    if not isinstance(entry, EntryByEvent) or event.canonical != entry.event:
        return Entry(False)
    if event.is_about_message and not entry.any_run:
        return Entry(False)
    errors: list[str] = []
    if not holds_true(definition, entry.where, None, event, world, event.time, True, errors):
        return Entry(False, errors=tuple(errors))
    refused = _too_old(definition, event, published_at, world.zone)
    if refused:
        return Entry(False, refused)
    key = key_of(definition, event, world)
    if key is None:
        return Entry(False, "key missing")
    restarts = None
    for prior in priors or ():
        match entry.reentry.rule:
            case "never":
                return Entry(False, "entered before", *key)
            case "cooldown" if entry.reentry.cooldown is not None and event.time < add(
                    prior.entered_at, entry.reentry.cooldown, world.zone):
                return Entry(False, "cooldown", *key)
            case "restart":
                restarts = prior.run_id if prior.active else restarts
            case _ if prior.active:
                return Entry(False, "active already", *key)
    return Entry(True, None, *key, restarts=restarts)


def _too_old(definition: Definition, event: Event, published_at: int | None, zone: str) -> str | None:
    """Loading last year's registrations mails nobody."""
    delay = event.received - event.time
    if definition.backdated is not None:
        if event.received >= add(event.time, definition.backdated, zone) and delay >= DAY_MS:
            return "older than backdated"
        return None
    if event.imported:
        return "imported"
    if published_at is not None and event.time < published_at:
        return "before publish"
    return "received too late" if delay >= DAY_MS else None
