"""Whose a weak identifier is at which time, when several people use it."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from percorso_identity.policy import Shared


class Slice(NamedTuple):
    """From `since` (ms; None: from the beginning) until the next slice."""

    since: int | None
    owner: bytes | None
    """The atom at whose profile the touchpoints belong; None: nobody's."""


class Interval(NamedTuple):
    """since <= t < until; None is without end."""

    since: int | None
    until: int | None


def cut(weak: bytes, logins: Iterable[tuple[int, bytes]], logouts: Iterable[int], shared: Shared) -> list[Slice]:
    """`logins`: (ms, atom of who logged in), in any order, at least one.

    A touchpoint belongs to the login before it; before the first login, and after a logout, to the next one. After a
    logout with no login since, it is the weak id's own (its profile is that of the earliest accepted claim).
    """
    ordered = sorted(set(logins))
    if shared == "ambiguous":
        return [Slice(None, None)]
    if shared == "first":
        return [Slice(None, ordered[0][1])]
    if shared == "last":
        return [Slice(None, ordered[-1][1])]
    bounds: dict[int, bytes] = {}
    times = [time for time, _ in ordered]
    for logout in logouts:
        following = bisect_right(times, logout)
        if following > 0:
            bounds[logout + 1] = ordered[following][1] if following < len(ordered) else weak
    bounds.update(ordered)
    slices = [Slice(None, ordered[0][1])]
    for since in sorted(bounds):
        if bounds[since] != slices[-1].owner:
            slices.append(Slice(since, bounds[since]))
    return slices


def owner_at(slices: Sequence[Slice], time: int) -> bytes | None:
    """`slices` as `cut` returns them."""
    owner = slices[0].owner
    for since, later in slices[1:]:
        if since is None or since > time:
            break
        owner = later
    return owner


_NONE = object()


def differences(before: Sequence[Slice], after: Sequence[Slice]) -> list[Interval]:
    """The intervals in which the owner is another than before. An empty sequence owns nothing."""
    bounds = sorted({since for since, _ in (*before, *after) if since is not None})
    found: list[Interval] = []
    for since, until in zip((None, *bounds), (*bounds, None), strict=True):
        at = since if since is not None else (bounds[0] - 1 if bounds else 0)
        old = owner_at(before, at) if before else _NONE
        new = owner_at(after, at) if after else _NONE
        if old == new:
            continue
        if found and found[-1].until == since:
            found[-1] = Interval(found[-1].since, until)
        else:
            found.append(Interval(since, until))
    return found
