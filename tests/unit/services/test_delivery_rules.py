"""Rules of delivery that need no database: when to try again, where webhooks may go, which mail server."""

import ipaddress

import pytest

from percorso_services.delivery_worker.channels.email import Server, server_of
from percorso_services.delivery_worker.channels.reachable_address import (
    Forbidden,
    allowed_places,
    is_public,
    place_of,
    public_only,
    resolve,
)
from percorso_services.delivery_worker.retry import EMAIL, HOUR_MS, WEBHOOK, next_try


def test_pauses_double_up_to_the_longest() -> None:
    pauses = [next_try(WEBHOOK, attempt, 0, 0, 0.0) for attempt in (1, 2, 3, 30)]
    assert pauses == [5_000, 10_000, 20_000, HOUR_MS]


def test_chance_spreads_tries_over_a_quarter_of_the_pause() -> None:
    assert next_try(EMAIL, 1, 0, 0, 0.999) == 30_000 + int(30_000 * 0.999 / 4)


def test_after_the_patience_has_ended_it_is_given_up() -> None:
    assert next_try(WEBHOOK, 9, 0, 24 * HOUR_MS - 1, 0.0) is not None
    assert next_try(WEBHOOK, 9, 0, 24 * HOUR_MS, 0.0) is None


def test_a_pause_that_is_asked_for_counts_within_reason() -> None:
    assert next_try(WEBHOOK, 1, 0, 0, 0.0, 60_000) == 60_000
    assert next_try(WEBHOOK, 1, 0, 0, 0.0, 100 * HOUR_MS) == HOUR_MS


@pytest.mark.parametrize("address", [
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
    "255.255.255.255", "::1", "fe80::1", "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "::", "240.0.0.1",
])
def test_private_addresses_are_seen_through_every_wrapping(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))
    with pytest.raises(Forbidden, match="private"):
        public_only([address])


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses_pass(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


def test_of_several_addresses_only_public_ones_are_used() -> None:
    assert public_only(["10.0.0.1", "8.8.8.8"]) == ["8.8.8.8"]


async def test_only_usual_ports_and_no_private_name_unless_allowed_by_host_and_port() -> None:
    with pytest.raises(Forbidden, match="port 25"):
        await resolve(place_of("http://127.0.0.1:25/"), frozenset())
    with pytest.raises(Forbidden, match="private"):
        await resolve(place_of("http://127.0.0.1:8080/"), frozenset())
    allow = allowed_places("127.0.0.1:25, [::1]:9,nonsense")
    assert allow == {("127.0.0.1", 25), ("::1", 9)}
    assert await resolve(place_of("http://127.0.0.1:25/"), allow) == ["127.0.0.1"]


@pytest.mark.parametrize("url", ["ftp://example.com/", "example.com", "http://", "http://user:pass@example.com/",
                                 "http://example.com:99999/", "file:///etc/passwd"])
def test_what_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(Forbidden):
        place_of(url)


def test_an_address_is_taken_apart() -> None:
    place = place_of("https://hooks.example.com/a/b?c=d#e")
    assert (place.port, place.target, place.authority) == (443, "/a/b?c=d", "hooks.example.com")
    assert place_of("http://[2606:4700::1]:8080").authority == "[2606:4700::1]:8080"


@pytest.mark.parametrize(("url", "server"), [
    ("smtp://127.0.0.1", Server("127.0.0.1", 25, False, None, None)),
    ("smtp://me:p%40ss@mail.example.com", Server("mail.example.com", 587, False, "me", "p@ss")),
    ("smtps://me:x@mail.example.com", Server("mail.example.com", 465, True, "me", "x")),
    ("smtp://mail.example.com:2525", Server("mail.example.com", 2525, False, None, None)),
])
def test_the_mail_server_is_read_from_its_address(url: str, server: Server) -> None:
    assert server_of(url) == server
