"""From a rendered mail to the bytes that go over SMTP."""

from datetime import datetime
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr

from percorso_orchestrator.templates import Mail


class AddressRefused(Exception):
    """This is no address that mail can be sent to: {0}"""


def message_id(send_id: str, mail_from: str) -> str:
    """The same ledger row has the same Message-ID, however often it is tried."""
    _, at, domain = parseaddr(mail_from)[1].rpartition("@")
    domain = domain if at and domain else "localhost"
    return f"<{send_id}@{domain}>"


def plain_address(address: str) -> str:
    """`Ada <ada@example.com>` -> `ada@example.com`. Raises AddressRefused."""
    plain = parseaddr(address)[1]
    if any(ord(character) < 32 for character in address) or ("<" not in address and plain != address.strip()):
        raise AddressRefused("it cannot be read as one address")
    local, _, domain = plain.rpartition("@")
    if not local or not domain or any(ord(character) <= 32 or ord(character) == 127 for character in plain):
        raise AddressRefused("it has no local part, no domain or a blank in it")
    if not plain.isascii():
        raise AddressRefused("it has other letters than ASCII, which many mail servers do not take")
    return plain


def build_mail(mail: Mail, *, sender: str, to: str, ident: str, at: datetime) -> EmailMessage:
    """multipart/alternative, text first. Raises AddressRefused."""
    message = EmailMessage(policy=SMTP)
    name, address = parseaddr(sender)
    recipient = plain_address(to)
    try:
        message["From"] = Address(name, addr_spec=address)
        message["To"] = Address(addr_spec=recipient)
    except (HeaderParseError, ValueError, IndexError) as error:
        raise AddressRefused(str(error)) from None
    message["Subject"] = mail.subject
    message["Date"] = format_datetime(at)
    message["Message-ID"] = ident
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.text, cte="quoted-printable")
    message.add_alternative(mail.html, subtype="html", cte="quoted-printable")
    message["Content-Language"] = mail.lang
    return message


def headers_of(message: EmailMessage) -> dict[str, str]:
    """For the built-in mailbox."""
    return {name: str(value) for name, value in message.items()}
