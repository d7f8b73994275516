"""At the first start the folder of journeys is filled with the shipped ones and published."""

import shutil
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import structlog

from percorso_orchestrator.publish import NotPublished, publish_folder

_LOCK = 0x6A6F_7573


def fill_folder(folder: Path) -> bool:
    """Copies the shipped journeys into a folder that is missing or empty. False: there was something in it already.
    Raises OSError."""
    if folder.is_dir() and any(folder.iterdir()):
        return False
    with as_file(files("percorso_orchestrator") / "shipped") as shipped:
        shutil.copytree(shipped, folder, dirs_exist_ok=True,
                        ignore=shutil.ignore_patterns("__pycache__", "*.py", "*.pyc"))
    return True


async def publish_first(pool: Any, workspace: int, folder: Path, now_ms: int) -> None:
    """Only while nothing was ever published: later edits of the folder need `percorso journey publish`. A folder that
    cannot be written leaves the shipped ones in force."""
    log = structlog.get_logger("percorso.journeys")
    async with pool.acquire() as connection:
        await connection.execute("SELECT pg_advisory_lock($1, $2)", _LOCK, workspace)
        try:
            if await connection.fetchval("SELECT EXISTS (SELECT FROM orchestrator.journey WHERE workspace_id = $1)",
                                         workspace):
                return
            try:
                fill_folder(folder)
                found = await publish_folder(pool, workspace, folder, now_ms)
            except OSError as error:
                log.warning("the folder of journeys cannot be filled", folder=str(folder), why=error.strerror)
                with as_file(files("percorso_orchestrator") / "shipped") as shipped:
                    found = await publish_folder(pool, workspace, shipped, now_ms)
            log.info("journeys published", journeys=[item.name for item in found])
        except NotPublished as problem:
            log.warning("journeys not published", why=str(problem))
        finally:
            await connection.execute("SELECT pg_advisory_unlock($1, $2)", _LOCK, workspace)
