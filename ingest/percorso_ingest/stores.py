"""Where ingest keeps personal data: in the quarantine, as long as somebody might repair what is there."""

from collections.abc import Mapping, Sequence
from typing import Any

from percorso_ingest.postgres import erase_records_of_person, records_of_person
from percorso_ingest.quarantine import as_kept
from percorso_shared.stores import Store, Subject


def _names(subject: Subject) -> list[str]:
    """An alias names its previous id without a type; the quarantine has it as a user id."""
    return sorted({as_kept(type_, value) for type_, value in subject.identifiers}
                  | {as_kept("user_id", value) for type_, value in subject.identifiers if type_ == "anonymous_id"})


async def _export(connection: Any, subject: Subject) -> Sequence[Mapping[str, Any]]:
    rows = await records_of_person(connection, subject.workspace, _names(subject))
    return [{"id": row["id"].hex(), "source": row["source"], "stage": row["at_stage"], "reason": row["reason"],
             "received_at": row["received_at"].isoformat(), "body": row["body"].decode(errors="replace")}
            for row in rows]


async def _erase(connection: Any, subject: Subject) -> int:
    return await erase_records_of_person(connection, subject.workspace, _names(subject))


STORES: Sequence[Store] = (Store("quarantine", ("ingest.quarantine",), _export, _erase),)
WITHOUT_PERSONAL_DATA: Mapping[str, str] = {
    "ingest.source": "names and keys of sources",
    "ingest.quarantine_count": "numbers by source and reason",
    "ingest.quarantine_size": "numbers by workspace",
}
