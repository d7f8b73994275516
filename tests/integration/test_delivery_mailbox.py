"""Without a mail server, mails go to the built-in mailbox: exactly once, in the person's language."""

import asyncpg
import pytest

from delivery_rows import Office
from percorso_orchestrator.delivery_ledger import expire


@pytest.fixture
async def office(pool: "asyncpg.Pool") -> Office:
    return await Office(pool).open()


async def test_a_mail_is_kept_with_its_headers_and_the_row_is_sent(office: Office) -> None:
    send = await office.plan(await office.person("ada", locale="en-GB"))
    await office.emails().once()
    row = await office.row(send)
    assert (row["state"], row["attempts"], row["address"], row["sent_at"]) == (
        "sent", 1, "ada@example.com", office.now)
    (mail,) = await office.mails()
    assert (mail["to"], mail["subject"], mail["text"]) == ("ada@example.com", "Hello Ada", "Dear Ada, is missing\n")
    assert mail["html"] == "<p>Dear Ada,  is missing</p>"
    assert f'"Message-ID": "<{send.hex()}@example.com>"' in mail["headers"].replace('":"', '": "')


@pytest.mark.parametrize(("locale", "subject"), [("en", "Hello Ada"), ("it-CH", "Ciao Ada"), (None, "Ciao Ada"),
                                                 ("fr", "Ciao Ada")])
async def test_the_language_is_the_persons_else_the_workspaces(office: Office, locale: str | None,
                                                               subject: str) -> None:
    await office.plan(await office.person("ada", **({"locale": locale} if locale else {})))
    await office.emails().once()
    assert [mail["subject"] for mail in await office.mails()] == [subject]


async def test_the_trait_email_goes_before_the_identifier(office: Office) -> None:
    await office.plan(await office.person("ada", email="new@example.com"))
    await office.emails().once()
    assert [mail["to"] for mail in await office.mails()] == ["new@example.com"]


async def test_what_people_write_into_their_names_is_escaped(office: Office) -> None:
    await office.plan(await office.person("ada", name="<b>Ada</b>\r\nBcc: all@example.com", locale="en"))
    await office.emails().once()
    (mail,) = await office.mails()
    assert "&lt;b&gt;Ada&lt;/b&gt;" in mail["html"]
    assert mail["subject"] == "Hello <b>Ada</b> Bcc: all@example.com"
    assert "Bcc" not in mail["headers"].split('"Subject"')[0]


async def test_a_template_that_cannot_be_filled_in_fails_with_its_reason_and_stops_no_other(office: Office) -> None:
    ada = await office.person("ada")
    bad, gone, good = (await office.plan(ada, 1, template="broken"), await office.plan(ada, 2, template="nowhere"),
                       await office.plan(ada, 3))
    await office.emails().once()
    assert "divided_by" in (await office.row(bad))["reason"]
    assert "has no template 'nowhere'" in (await office.row(gone))["reason"]
    assert (await office.row(good))["state"] == "sent"


async def test_a_mail_whose_lease_was_lost_meanwhile_is_not_kept(office: Office) -> None:
    await office.plan(await office.person("ada"))
    lane = office.emails()
    write = lane._write

    async def slow_write(ready):  # type: ignore[no-untyped-def]  # the lane's own signature
        letters = await write(ready)
        office.clock.advance(61_000)
        await expire(office.pool, 1, office.now)
        return letters

    lane._write = slow_write  # type: ignore[method-assign]  # the process is frozen between rendering and settling
    await lane.once()
    assert await office.mails() == []
    assert await office.states() == ["planned"]
    await office.emails().once()
    assert len(await office.mails()) == 1
