"""What one request brought, judged: touchpoints to accept, events to set aside."""

from dataclasses import dataclass, field

from percorso_ingest.accept import Believed, accept
from percorso_ingest.claim import Parcel
from percorso_ingest.instants import read_instant
from percorso_ingest.refusal import UNDECODABLE, NotBelieved, Refusal, refusal_of
from percorso_ingest.source import Source


@dataclass(slots=True)
class Verdict:
    """Together as many as were sent."""

    accepted: list[Believed] = field(default_factory=list)
    refused: list[tuple[Refusal, bytes]] = field(default_factory=list)
    """Each with the original bytes of its event."""


def believe(parcel: Parcel, source: Source, received_at: int) -> Verdict:
    """Raises NotBelieved when the parcel as a whole is over a limit of its source."""
    limits, verdict = source.limits, Verdict()
    if len(parcel.originals) > limits.batch_events:
        raise NotBelieved("too_many_events", f"{len(parcel.originals)} events, the limit is {limits.batch_events}")
    keep = verdict.accepted.append
    sent_at = read_instant(parcel.sent_at)
    for raw in parcel.originals:
        original = bytes(raw)
        try:
            keep(accept(original, parcel, source, received_at, sent_at))
        except UNDECODABLE as error:
            verdict.refused.append((refusal_of(error), original))
    return verdict
