"""`make check`: ruff, mypy strict, import-linter and the size of the beacon; all are run, then the worst is told."""

import gzip
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
BEACON = ROOT / "services/percorso_services/ingest_api/static/p.js"
BEACON_LIMIT = 6 * 1024
TOOLS = (
    ("ruff", ["-m", "ruff", "check", "--quiet", "."]),
    ("mypy", ["-m", "mypy"]),
    ("import-linter", ["-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"]),
)


def main() -> int:
    failed = []
    for name, arguments in TOOLS:
        sys.stdout.write(f"{name} ...\n")
        sys.stdout.flush()
        if subprocess.run([sys.executable, *arguments], cwd=ROOT, check=False).returncode:
            failed.append(name)
    size = len(gzip.compress(BEACON.read_bytes(), 9))
    sys.stdout.write(f"beacon: {size:,} bytes gzipped (at most {BEACON_LIMIT:,})\n")
    if size > BEACON_LIMIT:
        failed.append("beacon size")
    sys.stdout.write(f"check failed: {', '.join(failed)}\n" if failed else "check passed\n")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
