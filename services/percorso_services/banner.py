"""What `percorso up` says once everything works."""

from pathlib import Path

from percorso_services.installation_keys import Keys, keys_file
from percorso_shared.control.first_visit import PATH
from percorso_shared.settings import Settings


def banner(settings: Settings, keys: Keys, *, version: str, first_visit: str, seconds: float, terminal: bool,
           link_file: Path) -> str:
    """Secrets stand in it for a terminal only; otherwise it names the files that hold them."""
    public, private, path = settings.public_address, settings.private_address, keys_file(settings.data_dir)
    if terminal:
        visit = f"{private}{PATH}?token={first_visit}\n{'':21}(works once, for 24 hours)"
        write_key = f"{keys.sources[0].write_key} (source {keys.sources[0].name})"
        secret = keys.secret_key or "<secret key>"
    else:
        visit = f"link in {link_file} (works once, for 24 hours)"
        write_key = f"in {path}, or `percorso keys`"
        secret = "<secret_key>"
    rows = (
        ("Public address", public),
        ("Demo shop", f"{public}/demo/"),
        ("Live page", f"{private}/"),
        ("Console, first visit", visit),
        ("Write key", write_key),
        ("See a profile", f"curl -H 'Authorization: Bearer {secret}' \\\n{'':21}"
                          f"{private}/v1/profiles/email:ada@example.com"),
        ("Stop", "Ctrl-C" if terminal else "SIGTERM"),
    )
    lines = [f"Percorso {version} is ready ({seconds:.1f} s)", "", *(f"{name:<21}{text}" for name, text in rows)]
    return "\n" + "\n".join(f"  {line}" if line else "" for text in lines for line in text.split("\n")) + "\n"
