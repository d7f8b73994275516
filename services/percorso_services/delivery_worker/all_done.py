"""Several tasks, each to its end: one that fails never cancels another in the middle of a mail."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any


async def all_done(work: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Waits for all; raises what went wrong only then."""
    found = await asyncio.gather(*work, return_exceptions=True)
    raise_all([result for result in found if isinstance(result, BaseException)])


def raise_all(errors: Sequence[BaseException]) -> None:
    """One error as it is, several as a group."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise BaseExceptionGroup("several sends failed", list(errors))
