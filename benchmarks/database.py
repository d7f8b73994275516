"""A PostgreSQL of its own for cluster measurements: `python -m benchmarks.database FOLDER`, stops on SIGTERM."""

import asyncio
import json
import signal
import sys
from pathlib import Path

from percorso_shared.embedded_postgres import EmbeddedPostgres


async def main() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with EmbeddedPostgres(Path(sys.argv[1])) as server:
        sys.stdout.write(json.dumps({"url": server.url}) + "\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main())
