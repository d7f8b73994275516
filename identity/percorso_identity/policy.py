"""The rules of a workspace: which identifiers are strong, how many of each one person may have.

A policy is plain data with a version (table `identity.policy`); none stored means the default below.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Literal

import msgspec

Shared = Literal["slice", "first", "last", "ambiguous"]


class TypeRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One type of identifier."""

    rank: int
    """0 is the strongest. 0 to 255."""
    limit: int
    """Most identifiers of this type in one profile."""
    weak: bool = False
    """Of a browser or device: may be used by several people."""
    fold: Literal["lower"] | None = None
    """`lower`: values that differ in case only are one identifier. E-mail addresses always are."""

    def __post_init__(self) -> None:
        if not 0 <= self.rank <= 255:
            raise ValueError(f"rank must be 0 to 255, not {self.rank}")
        if self.limit < 1:
            raise ValueError(f"limit must be at least 1, not {self.limit}")


OTHER = TypeRule(rank=7, limit=5)
"""Every type that the policy does not name."""

DEFAULT_TYPES: Mapping[str, TypeRule] = {
    "user_id": TypeRule(rank=0, limit=1),
    "crm_id": TypeRule(rank=1, limit=5),
    "email": TypeRule(rank=2, limit=5, fold="lower"),
    "phone": TypeRule(rank=3, limit=5),
    "device_id": TypeRule(rank=8, limit=20, weak=True),
    "ga_client_id": TypeRule(rank=8, limit=20, weak=True),
    "anonymous_id": TypeRule(rank=9, limit=100, weak=True),
}


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Version 0 is the default."""

    types: dict[str, TypeRule] = {}
    """Replaces the default's rule of these types."""
    size: int = 1000
    """Most identifiers of one profile."""
    hub: int = 8
    """An identifier that more than this many stronger ones claim is a hub: it joins nobody."""
    crowd: int = 10_000
    """In a component of more atoms than this a weak id with more than one strong neighbour is a hub."""
    shared: Shared = "slice"
    """Whose are touchpoints that carry only a weak id used by several people: of the login before them (`slice`), of
    the first or last who used it, or nobody's (`ambiguous`)."""
    region: str | None = None
    """Two-letter country of phone numbers without a country code; None: they stay digits."""
    blocked: tuple[str, ...] = ()
    """Values that identify nobody, besides the usual ones of `normalise.py`; compared trimmed and lower-cased."""
    version: int = 0

    def __post_init__(self) -> None:
        if self.size < 1 or self.hub < 1 or self.crowd < 1:
            raise ValueError("size, hub and crowd must be at least 1")

    def rule(self, type_: str) -> TypeRule:
        return self.types.get(type_) or DEFAULT_TYPES.get(type_) or OTHER


DEFAULT = Policy()

_DECODER = msgspec.json.Decoder(Policy)


@lru_cache(maxsize=256)
def decode_policy(body: str, version: int) -> Policy:
    """A stored policy. Raises msgspec.ValidationError, which says what is wrong where."""
    return msgspec.structs.replace(_DECODER.decode(body), version=version)


def encode_policy(policy: Policy) -> str:
    return msgspec.json.encode(msgspec.structs.replace(policy, version=0)).decode()
