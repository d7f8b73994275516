"""Event names as conditions and journeys compare them."""

import re
from functools import lru_cache

_OTHER = re.compile(r"[^a-z0-9]+")


@lru_cache(maxsize=65_536)
def canonical_name(name: str) -> str:
    """`Order Completed`, `order-completed` and `order_completed` are one name: lower-cased, every run of other
    characters than letters and digits as `_`."""
    return _OTHER.sub("_", name.lower()).strip("_") or name
