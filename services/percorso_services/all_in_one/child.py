"""One of the two processes under `percorso up`: `python -m percorso_services.all_in_one.child ports ...`.

The parent speaks through stdin, one JSON object a line: first the settings (this process imports what it needs while
the database is starting), then what `/readyz` should know of the other process. The end of stdin means that the parent
is dead: this process ends at once, as by kill -9, for nothing must work in a data folder that the next start believes
free. Answers go to stdout: `{"ready": ...}` or `{"failed": ...}`.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from dataclasses import asdict
from typing import Any

import msgspec
import structlog
import uvloop

from percorso_services.host import ProcessFailed, load_processes, run_host
from percorso_shared.cannot_run import CannotRun
from percorso_shared.logs import configure_logs
from percorso_shared.process import Context
from percorso_shared.settings import Settings

PARENT_DIED = 70
_answers = 1
"""The pipe to the parent; what a library may print goes to stderr instead."""


def main(arguments: list[str]) -> int:
    """`arguments`: a name, the processes with commas, the descriptors of public and private socket (- for none)."""
    global _answers
    name, processes, public, private = arguments
    _answers = os.dup(1)
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    modules = load_processes(processes.split(","))
    with open(0, "rb", buffering=0, closefd=False) as parent:
        first = parent.readline()
    if not first:
        return PARENT_DIED
    settings = msgspec.json.decode(first, type=Settings, dec_hook=lambda kind, value: kind(value))
    configure_logs(settings.log_level, process=name)
    try:
        uvloop.run(_work(settings, modules, _socket(public), _socket(private)))
    except ProcessFailed as failure:
        _say({"failed": str(failure)})
        structlog.get_logger().error(str(failure))
        structlog.get_logger().debug("the trace of it", exc_info=failure)
        return 1
    except CannotRun as error:
        _say({"failed": str(error)})
        return 2
    return 0


def _socket(descriptor: str) -> socket.socket | None:
    return None if descriptor == "-" else socket.socket(fileno=int(descriptor))


async def _work(settings: Settings, modules: dict[str, Any], public: socket.socket | None,
                private: socket.socket | None) -> None:
    assert private is not None
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    contexts: list[Context] = []
    listening = asyncio.create_task(_listen_to_parent(contexts))
    try:
        await run_host(settings, modules, public=public, private=private, stop=stop,
                       announce=lambda ready: _say({"ready": asdict(ready)}), context_made=contexts.append)
    finally:
        listening.cancel()


async def _listen_to_parent(contexts: list[Context]) -> None:
    """Each line is {"others": {name: why it cannot work, or null}}."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async for line in reader:
        for context in contexts:
            for name, reason in msgspec.json.decode(line)["others"].items():
                if reason is None:
                    context.ready.pop(name, None)
                else:
                    context.ready[name] = reason
    os._exit(PARENT_DIED)


def _say(message: dict[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError):
        os.write(_answers, msgspec.json.encode(message) + b"\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
