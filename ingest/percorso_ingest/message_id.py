"""Message ids: what makes two deliveries of one touchpoint one."""

from hashlib import blake2b


def hash_of(message_id: str) -> str:
    """What stands for a message id that is too long: the same for the same one, for ever."""
    return "h-" + blake2b(message_id.encode(), digest_size=32, person=b"message").hexdigest()
