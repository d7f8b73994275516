"""The committed beacon: small, and built from the sources beside it. Needs no Node."""

import gzip
import json
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BEACON = ROOT / "web" / "beacon"
BUILT = ROOT / "services" / "percorso_services" / "ingest_api" / "static" / "p.js"


def test_the_beacon_has_at_most_6_kib_gzip() -> None:
    assert len(gzip.compress(BUILT.read_bytes(), 9)) <= 6 * 1024


def test_the_committed_build_belongs_to_the_committed_sources() -> None:
    record = json.loads((BEACON / "built.json").read_text())
    sources = "".join(f"{path.name} {sha256(path.read_bytes()).hexdigest()}\n"
                      for path in sorted((BEACON / "src").iterdir()))
    assert record == {"sources": sha256(sources.encode()).hexdigest(), "file": sha256(BUILT.read_bytes()).hexdigest()}


def test_the_lock_file_names_no_download_address() -> None:
    assert "resolved" not in (BEACON / "package-lock.json").read_text()
