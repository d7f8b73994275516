"""The interface of a protocol: request -> parcel of claims. One small file per protocol beside this one."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from percorso_ingest.claim import Parcel
from percorso_ingest.refusal import Refusal


class Request(NamedTuple):
    """What an adapter may look at. The body is decompressed and cleaned (see `digestible.clean`)."""

    path: str
    query: bytes
    headers: Mapping[bytes, bytes]
    """Names in lower case."""
    body: bytes


Read = Callable[[Request], Parcel]
"""Raises NotBelieved when the request as a whole cannot be read."""
Answer = Callable[[Refusal | None], tuple[int, bytes, bytes]]
"""Status, content type and body for what became of it: None is accepted."""


class Protocol(NamedTuple):
    """How one kind of request is read and answered."""

    read: Read
    answer: Answer
    always_ok: bool = False
    """The sender cannot do anything about a refusal (a pixel): it is told that all went well."""
