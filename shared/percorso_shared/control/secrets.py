"""How keys and tokens are made and stored: 190 random bits or more, kept as a hash."""

import secrets
import string
from hashlib import sha256

_LETTERS = string.ascii_lowercase + string.digits


def new_write_key() -> str:
    """The public key of a source: 32 letters and digits, as Segment's SDKs expect."""
    return "".join(secrets.choice(_LETTERS) for _ in range(32))


def new_secret_key(workspace: int) -> str:
    """A bearer key of the query API; names its workspace, so that it is found by (workspace, hash)."""
    return f"sk_{workspace}_" + "".join(secrets.choice(_LETTERS) for _ in range(40))


def new_token() -> str:
    """For links, cookies and signing."""
    return secrets.token_urlsafe(32)


def hash_of(secret: str) -> bytes:
    """A plain hash is enough for a secret that nobody can guess."""
    return sha256(secret.encode()).digest()
