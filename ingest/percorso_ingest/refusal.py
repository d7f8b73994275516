"""What we do not believe, and why: the closed list of reasons."""

from typing import Final, Literal, NamedTuple

import msgspec

Reason = Literal[
    "unreadable", "too_large", "wrong_shape", "no_events", "too_many_events", "unknown_type", "name_missing",
    "name_too_long", "identifier_missing", "identifier_unreadable", "identifier_too_long", "previous_id_missing",
    "group_id_missing", "number_out_of_range", "too_deep", "too_wide"]

REASONS: Final[dict[Reason, str]] = {
    "unreadable": "it is not JSON in UTF-8, or cannot be decompressed",
    "too_large": "it is over the limit of bytes",
    "wrong_shape": "a part of it is of another kind than it has to be",
    "no_events": "the batch holds no event",
    "too_many_events": "the batch holds more events than the limit",
    "unknown_type": "the type is none of track, identify, page, screen, group, alias",
    "name_missing": "a track needs the name of its event",
    "name_too_long": "the name of the event is over the limit",
    "identifier_missing": "nothing says who it was",
    "identifier_unreadable": "an id is neither text nor a number",
    "identifier_too_long": "an id is over the limit",
    "previous_id_missing": "an alias needs two ids",
    "group_id_missing": "a group needs a groupId",
    "number_out_of_range": "a number is larger than any computer's",
    "too_deep": "it is nested deeper than the limit",
    "too_wide": "it holds more values than the limit",
}


class Refusal(NamedTuple):
    """Why one event, or a whole request, is not believed. `detail` names the place and holds no personal data."""

    reason: Reason
    detail: str = ""

    @property
    def message(self) -> str:
        return REASONS[self.reason] + (f" ({self.detail})" if self.detail else "")


class NotBelieved(Exception):
    """The refusal is in `refusal`."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.refusal = Refusal(reason, detail)


def refusal_of(error: Exception) -> Refusal:
    """What NotBelieved, a decoder's error, or nesting beyond a decoder's reach says."""
    if isinstance(error, NotBelieved):
        return error.refusal
    if isinstance(error, msgspec.ValidationError):
        if "out of range" in str(error):
            return Refusal("number_out_of_range")
        return Refusal("wrong_shape", str(error))
    if isinstance(error, RecursionError):
        return Refusal("too_deep")
    return Refusal("unreadable", str(error))


UNDECODABLE: Final = (NotBelieved, msgspec.DecodeError, RecursionError)
"""What `refusal_of` explains."""

STATUS: Final[dict[Reason, int]] = {"too_large": 413, "too_many_events": 413}
"""HTTP status of a request that was refused whole, where it is not 400. Every SDK drops what is answered so."""
