"""`make check-deploy`: the Dockerfile by hadolint, compose.yaml by docker compose's own `config`.

`docker compose` itself is used where it is installed; else its source is built from the Go module proxy into .cache/
(some minutes, once). No Docker engine is needed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
COMPOSE_MODULE = "github.com/docker/compose/v2"
COMPOSE_VERSION = "v2.40.3"
COMPOSE_BINARY = ROOT / ".cache" / f"docker-compose-{COMPOSE_VERSION}"
PROCESSES = ("ingest_api", "identity_worker", "profile_worker", "orchestrator_worker", "delivery_worker", "profile_api",
             "console")


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def compose() -> list[str] | None:
    """The command that runs docker compose, built if need be; None if it cannot be had."""
    if shutil.which("docker") and subprocess.run(
            ["docker", "compose", "version"], capture_output=True, check=False).returncode == 0:
        return ["docker", "compose"]
    if COMPOSE_BINARY.exists():
        return [str(COMPOSE_BINARY)]
    if shutil.which("go") is None:
        return None
    say(f"building {COMPOSE_MODULE} {COMPOSE_VERSION} (once) ...")
    COMPOSE_BINARY.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "GOFLAGS": "-mod=mod"}
        for command in (["go", "mod", "init", "check.local/compose"],
                        ["go", "get", f"{COMPOSE_MODULE}@{COMPOSE_VERSION}"],
                        ["go", "build", "-o", str(COMPOSE_BINARY), f"{COMPOSE_MODULE}/cmd"]):
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                say(done.stderr[-2000:])
                return None
    return [str(COMPOSE_BINARY)]


def main() -> int:
    failed = []
    say("hadolint deploy/Dockerfile")
    hadolint = Path(sys.executable).parent / "hadolint"
    if subprocess.run([str(hadolint), "--config", str(ROOT / "deploy/hadolint.yaml"), str(ROOT / "deploy/Dockerfile")],
                      check=False).returncode:
        failed.append("hadolint")
    command = compose()
    if command is None:
        say("docker compose is not installed, and no Go compiler is there to build it: compose.yaml was NOT checked")
        failed.append("compose")
    else:
        say("docker compose config")
        done = subprocess.run([*command, "-f", str(ROOT / "deploy/compose.yaml"), "config", "--services"],
                              env={**os.environ, "PERCORSO_SECRET": "x" * 32}, capture_output=True, text=True,
                              check=False)
        services = set(done.stdout.split())
        if done.returncode:
            say(done.stderr)
            failed.append("compose config")
        elif missing := [name for name in PROCESSES if name not in services]:
            say(f"compose.yaml lacks {', '.join(missing)}")
            failed.append("compose processes")
        else:
            say(f"compose.yaml: {len(services)} services: {', '.join(sorted(services))}")
    say(f"check-deploy failed: {', '.join(failed)}" if failed else "check-deploy passed")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
