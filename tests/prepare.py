"""Says before a test run which real components it will use, and what to install for the missing ones."""

import os
import shutil
import sys


def main() -> int:
    missing = []
    if shutil.which("chromium") is None:
        missing.append("no chromium: browser tests will be skipped (Debian: apt-get install chromium)")
    if not os.environ.get("PERCORSO_TEST_KAFKA") and (shutil.which("java") is None or shutil.which("mvn") is None):
        missing.append("no java and mvn: Kafka tests need Docker, PERCORSO_TEST_KAFKA, or openjdk-17-jre-headless "
                       "and maven")
    for line in missing:
        sys.stdout.write(line + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
