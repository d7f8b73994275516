"""How long a child that keeps dying is waited for, and what a banner tells whom."""

from pathlib import Path

from percorso_services.all_in_one.supervisor import LONGEST_PAUSE, pause_before
from percorso_services.banner import banner
from percorso_services.installation_keys import Keys
from percorso_services.sources import Source
from percorso_shared.settings import Settings

KEYS = Keys(1, [Source("website", "browser", "wk-website", True, ()),
                Source("backend", "server", "wk-backend", True, ())],
            "sk_1_secret")


def shown(terminal: bool) -> str:
    return banner(Settings(data_dir=Path("/srv/data")), KEYS, version="1.2.3", first_visit="token", seconds=1.94,
                  terminal=terminal, link_file=Path("/srv/data/first-visit"))


def test_pauses_grow_and_stay_bounded() -> None:
    pauses = [pause_before(restart) for restart in range(1, 12)]
    assert pauses[:3] == [0.2, 0.4, 0.8]
    assert pauses == sorted(pauses)
    assert pauses[-1] == pause_before(10_000) == LONGEST_PAUSE


def test_a_terminal_sees_addresses_keys_and_how_to_stop() -> None:
    text = shown(terminal=True)
    for part in ("Percorso 1.2.3 is ready (1.9 s)", "http://127.0.0.1:8000/demo/",
                 "http://127.0.0.1:8001/first-visit?token=token", "wk-website (source website)",
                 "Authorization: Bearer sk_1_secret", "/v1/profiles/email:ada@example.com", "Ctrl-C"):
        assert part in text


def test_anything_else_sees_the_names_of_files_instead_of_secrets() -> None:
    text = shown(terminal=False)
    assert not [secret for secret in ("wk-website", "sk_1_secret", "token=token") if secret in text]
    assert "/srv/data/keys.json" in text
    assert "/srv/data/first-visit" in text
