"""percorso demo"""

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from percorso_services.commands.options import Data, settings_with

if TYPE_CHECKING:
    from rich.console import Console

    from percorso_services.demo_outcome import Outcome
    from percorso_services.demo_walk import Pace, Walked, Walker


def demo(people: Annotated[int, typer.Option(min=1, max=20_000, help="How many walk through the shop.")] = 200,
         data: Data = None) -> None:
    """Let people walk through the demo shop while `percorso up` runs, and say what became of them."""
    from percorso_services.demo_walk import Pace, ShopTrouble
    from percorso_shared.cannot_run import CannotRun
    settings = settings_with(data)
    try:
        outcome = asyncio.run(_demo(settings.data_dir.absolute(), people, Pace(arrivals=min(0.1, 30 / people))))
    except* ShopTrouble as troubles:
        raise CannotRun(f"{_first(troubles)}; is `percorso up` still running?") from None
    if outcome.surprises:
        raise typer.Exit(1)


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def running_installation(folder: Path) -> tuple[str, str, str, str]:
    """(public address, private address, write key of the website, secret key) of the copy that runs on this folder.
    Raises CannotRun."""
    from percorso_shared.cannot_run import CannotRun
    from percorso_shared.data_folder import folder_is_in_use, read_json
    run, keys = read_json(folder / "run.json"), read_json(folder / "keys.json")
    if not run or not folder_is_in_use(folder):
        raise CannotRun(f"Percorso is not running on the data folder {folder}: start it with `make up` (or "
                        "`percorso up`) and run this in a second terminal; another folder is named with --data")
    sources = {source["name"]: source["write_key"] for source in keys.get("sources", [])}
    if "website" not in sources or not keys.get("secret_key"):
        raise CannotRun(f"the write key of the source `website`, or the secret key, is not in {folder / 'keys.json'}")
    return run["public"], run["private"], sources["website"], keys["secret_key"]


async def _demo(folder: Path, people: int, pace: "Pace") -> "Outcome":
    from rich.console import Console

    from percorso_services.demo_outcome import read_outcome
    from percorso_services.demo_walk import cast
    public, private, write_key, secret = running_installation(folder)
    console, walkers = Console(highlight=False), cast(people, int(time.time()))
    console.print(f"{people} people walk through {public}/demo/; watch them at {private}/")
    walked = await _walk(console, walkers, public, write_key, pace)
    outcome = await read_outcome(private, secret, walked, pace)
    deadline = time.monotonic() + 60
    while not outcome.settled and time.monotonic() < deadline:
        await asyncio.sleep(1)
        outcome = await read_outcome(private, secret, walked, pace)
    _print(console, outcome, people, private)
    return outcome


async def _walk(console: "Console", walkers: "list[Walker]", public: str, write_key: str, pace: "Pace",
                ) -> "list[Walked]":
    """A bar for those who registered, one for those who confirmed, one for the wait until the last journey is over."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from percorso_services.demo_walk import walk
    with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                  console=console) as progress:
        bars = {"registered": progress.add_task("registered", total=len(walkers)),
                "confirmed": progress.add_task("confirmed", total=sum(walker.fate != "never" for walker in walkers))}
        last = 0.0

        def seen(what: str) -> None:
            nonlocal last
            if what == "registered":
                last = time.monotonic()
            progress.advance(bars[what])

        walked = await walk(walkers, public=public, write_key=write_key, pace=pace, seen=seen)
        began = time.monotonic()
        left = max(0, round(last + pace.ends - began))
        waiting = progress.add_task("the last mails", total=left)
        while (passed := time.monotonic() - began) < left:
            progress.update(waiting, completed=int(passed))
            await asyncio.sleep(0.5)
        progress.update(waiting, completed=left)
    return walked


def _print(console: "Console", outcome: "Outcome", people: int, private: str) -> None:
    from rich.table import Table
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("profiles", f"{outcome.profiles} of {people}")
    for reason, count in sorted(outcome.runs.items()):
        table.add_row(f"journey: {reason}", str(count))
    for template, count in sorted(outcome.mails.items()):
        table.add_row(f"mail sent: {template}", str(count))
    for reason, count in sorted(outcome.not_sent.items()):
        table.add_row(f"mail not sent: {reason}", str(count))
    table.add_row("mails in the mailbox", str(outcome.in_mailbox))
    console.print(table)
    if not outcome.settled:
        console.print("Some journeys are still under way: the machine is busy, or the journey has other waits than the "
                      "shipped one.", style="yellow")
    for surprise in outcome.surprises[:10]:
        console.print(surprise, style="red")
    if len(outcome.surprises) > 10:
        console.print(f"... and {len(outcome.surprises) - 10} more", style="red")
    if not outcome.surprises:
        console.print("Everybody got exactly the mails they should have.", style="green")
    console.print(f"The mails: {private}/mailbox")
