"""A rendered mail becomes a message that nobody's data can add a header to."""

from datetime import UTC, datetime

import pytest

from percorso_orchestrator.build_mail import AddressRefused, build_mail, message_id, plain_address
from percorso_orchestrator.templates import Mail

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)


def test_the_message_id_follows_from_the_send() -> None:
    assert message_id("ab" * 16, "Shop <shop@example.com>") == f"<{'ab' * 16}@example.com>"
    assert message_id("ab" * 16, "nobody").endswith("@localhost>")


def test_text_comes_before_html_and_everything_is_ascii_on_the_wire() -> None:
    message = build_mail(Mail("Però", "<p>più</p>", "più\n", "it"), sender="Bottega <b@example.com>",
                         to="Ada <ada@example.com>", ident="<1@example.com>", at=AT)
    raw = message.as_bytes()
    assert raw.isascii()
    assert b"\r\n" in raw
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    assert (message["To"], message["Message-ID"], message["Content-Language"]) == (
        "ada@example.com", "<1@example.com>", "it")
    assert message["Date"] == "Mon, 02 Mar 2026 12:00:00 +0000"
    assert "List-Unsubscribe" not in message


@pytest.mark.parametrize("address", ["", "nobody", "@example.com", "ada@", "ada@exa mple.com", "àda@example.com",
                                     "ada@example.com\r\nBcc: x@example.com"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(AddressRefused):
        build_mail(Mail("s", "h", "t", "it"), sender="b@example.com", to=address, ident="<1@x>", at=AT)


def test_a_display_name_is_left_out() -> None:
    assert plain_address("Ada <ada@example.com>") == "ada@example.com"
