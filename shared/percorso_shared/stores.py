"""The registry of stores: where personal data is kept, how a person gets a copy of it, how it is erased.

Each context lists its own in `<package>/stores.py`:

* `STORES: Sequence[Store]`: what holds personal data;
* `WITHOUT_PERSONAL_DATA: Mapping[str, str]`: each other table (`schema.table`) -> why it holds none, or when what it
  holds expires by itself.

An architecture test fails for a table that is in neither. Partitions go by the name of their parent.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from percorso_shared.history import Span
from percorso_shared.migrate import CONTEXTS


@dataclass(frozen=True, slots=True)
class Subject:
    """The person whose data it is. Ids are 16 bytes."""

    workspace: int
    profiles: tuple[bytes, ...]
    """The present profile id, and every id the profile ever had (each is one of `atoms`)."""
    atoms: tuple[bytes, ...]
    links: tuple[bytes, ...]
    """The links at home with one of the atoms."""
    identifiers: tuple[tuple[str, str], ...]
    """(type, normalised value) of the atoms: for stores that know addresses only."""
    shared: tuple[Span, ...] = ()
    """Links of shared devices, and when their touchpoints are this person's. Not among `links`."""


Export = Callable[[Any, Subject], Awaitable[Sequence[Mapping[str, Any]]]]
"""(connection, subject) -> JSON-ready rows: ids as hex, instants in ISO 8601."""
Erase = Callable[[Any, Subject], Awaitable[int]]
"""(connection, subject) -> rows erased. Inside the caller's transaction; set-based; twice is the same as once."""


@dataclass(frozen=True, slots=True)
class Store:
    """One store of personal data."""

    name: str
    """The key in the exported archive, such as `events`."""
    holds: tuple[str, ...]
    """`schema.table`, or a folder's path inside the data folder, ending in `/`."""
    export: Export
    erase: Erase


@dataclass(frozen=True, slots=True)
class Registry:
    """All contexts' stores, in the order of their dependence."""

    stores: tuple[Store, ...]
    without_personal_data: Mapping[str, str]


class StoreMissing(Exception):
    """A context does not say where it keeps personal data."""


def registry() -> Registry:
    """Raises StoreMissing for a context without `stores.py`."""
    stores: list[Store] = []
    without: dict[str, str] = {}
    for _, package in CONTEXTS:
        try:
            module = import_module(f"{package}.stores")
        except ModuleNotFoundError as error:
            raise StoreMissing(f"{package}/stores.py is missing") from error
        stores += module.STORES
        without |= module.WITHOUT_PERSONAL_DATA
    return Registry(tuple(stores), without)


async def export_person(connection: Any, subject: Subject) -> dict[str, list[dict[str, Any]]]:
    """Everything that is kept of a person: store -> rows."""
    return {store.name: [dict(row) for row in await store.export(connection, subject)] for store in registry().stores}


async def erase_person(connection: Any, subject: Subject) -> dict[str, int]:
    """Erases a person everywhere, in the caller's transaction: store -> rows. Identity comes last: as long as it knows
    the links, an interrupted erasure can be told again."""
    found = registry().stores
    ordered = sorted(found, key=lambda store: any(table.startswith("identity.") for table in store.holds))
    return {store.name: await store.erase(connection, subject) for store in ordered}
