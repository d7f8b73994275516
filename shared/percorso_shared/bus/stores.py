"""Where the bus keeps personal data: nowhere for long."""

from collections.abc import Mapping, Sequence

from percorso_shared.stores import Store

_EXPIRES = "records on their way; emptied by retention (RETENTION_BUS_DAYS)"

STORES: Sequence[Store] = ()
WITHOUT_PERSONAL_DATA: Mapping[str, str] = {
    "bus.migration": "names of migrations",
    "bus.layout": "which bus the positions count in",
    "bus.head": "ends of partitions",
    "bus.log": _EXPIRES,
    "bus.position": "positions of consumer groups",
    "bus.member": "processes",
    "bus.outbox": _EXPIRES,
    "bus.hold": "instants",
    "bus.accounting": "numbers by source and hour",
}
