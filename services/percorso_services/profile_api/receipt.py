"""`after=<receipt>`: an answer that holds what a receipt of ingest stands for."""

from typing import Annotated

from fastapi import Query, Request

from percorso_services.profile_api.problems import BadRequest, NotYet
from percorso_shared.bus.receipts import BadReceipt, Follower, decode_receipt

WAIT_SECONDS = 5.0

After = Annotated[str | None, Query(
    max_length=4000, description="a Percorso-Receipt: waits up to 5 s until it is folded in, else 504")]


async def wait_until_folded(request: Request, receipt: str | None) -> None:
    """Raises BadRequest for what is no receipt, NotYet after 5 s."""
    if receipt is None:
        return
    state = request.app.state
    try:
        if any(partition >= state.bus.partitions for partition in decode_receipt(receipt)):
            raise BadReceipt
        follower = Follower(receipt)
    except BadReceipt as error:
        raise BadRequest("after: this is no receipt of ours; send what stood in the header Percorso-Receipt") from error
    if not await follower.wait(state.pool, WAIT_SECONDS):
        raise NotYet(f"not folded in after {WAIT_SECONDS:g} s; ask again")
