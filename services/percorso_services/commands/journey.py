"""percorso journey"""

from pathlib import Path
from typing import Annotated, Any

import typer

from percorso_services.commands.options import Data, settings_with, with_database

app = typer.Typer(help="What happens after which touchpoints: test, publish and explain journeys.",
                  no_args_is_help=True)
Where = Annotated[Path, typer.Argument(metavar="DIR_OR_FILE", exists=True, show_default=False)]
Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]


@app.command()
def test(where: Where) -> None:
    """Run the tests inside journey files on a virtual clock. The last line is `N passed, N failed`."""
    from rich.console import Console

    from percorso_orchestrator.journey_folder import folder_policies, read_all
    from percorso_orchestrator.journey_test import run_file_tests
    from percorso_orchestrator.read_yaml import YamlProblem

    console = Console(highlight=False, soft_wrap=True)
    passed = failed = 0
    wrong = False
    try:
        policies = folder_policies(where if where.is_dir() else where.parent)
    except YamlProblem as problem:
        typer.echo(f"percorso: {problem}", err=True)
        raise typer.Exit(2) from None
    files = read_all(where, policies)
    beside = files if where.is_dir() else read_all(where.parent, policies)
    known = {file.definition.name: file.definition for file in beside if file.definition}
    for file in files:
        console.print(file.path.name, style="bold", markup=False)
        try:
            if file.problem or file.definition is None:
                raise file.problem or YamlProblem("cannot be read", file=file.path.name)
            results = run_file_tests(file.definition, policies, known.get)
        except YamlProblem as problem:
            wrong, failed = True, failed + 1
            console.print(f"  cannot be tested: {problem.in_file('')}", style="red", markup=False)
            typer.echo(f"percorso: {problem.in_file(file.path.name)}", err=True)
            continue
        for result in results:
            if result.problems:
                failed += 1
                console.print(f"  failed  {result.name}", style="red", markup=False)
                for text in result.problems:
                    console.print("          " + text.replace("\n", "\n          "), markup=False)
            else:
                passed += 1
                console.print(f"  passed  {result.name}", style="green", markup=False)
    typer.echo(f"{passed} passed, {failed} failed")
    if wrong or failed:
        raise typer.Exit(2 if wrong else 1)


@app.command()
def publish(where: Where, data: Data = None) -> None:
    """Put a journey, or every journey of a folder, in force as a new version. Unchanged ones stay as they are."""
    from percorso_orchestrator.publish import Published, prepare
    from percorso_orchestrator.publish import publish as store
    from percorso_shared.clock import SystemClock
    from percorso_shared.control import WORKSPACE

    policies, ready = prepare(where)

    async def work(connection: Any) -> list[Published]:
        return await store(connection, WORKSPACE, policies, ready, SystemClock().now_ms())

    for item in with_database(settings_with(data), work):
        typer.echo(f"{item.name}: " + (f"version {item.version} is in force" if item.is_new
                                       else f"unchanged (version {item.version})"))
    if not ready:
        typer.echo("there is no journey in this folder")


@app.command("list")
def list_(data: Data = None) -> None:
    """List the journeys in force with their runs."""
    from percorso_orchestrator.publish import Listed, list_journeys
    from percorso_shared.control import WORKSPACE

    async def work(connection: Any) -> list[Listed]:
        return await list_journeys(connection, WORKSPACE)

    for item in with_database(settings_with(data), work):
        typer.echo(f"{item.name:<30}  version {item.version:<3}  {item.state:<7}  since "
                   f"{item.published_at:%Y-%m-%d %H:%M}  {item.active} active, {item.ended} ended")


@app.command()
def pause(name: Name, data: Data = None) -> None:
    """Let nobody into a journey and send nothing of it until it is resumed."""
    _pause(name, True, data)


@app.command()
def resume(name: Name, data: Data = None) -> None:
    """Let a paused journey go on."""
    _pause(name, False, data)


def _pause(name: str, paused: bool, data: Path | None) -> None:
    from percorso_orchestrator.publish import set_paused
    from percorso_shared.clock import SystemClock
    from percorso_shared.control import WORKSPACE

    async def work(connection: Any) -> bool:
        return await set_paused(connection, WORKSPACE, name, paused, SystemClock().now_ms())

    if not with_database(settings_with(data), work):
        typer.echo(f"percorso: there is no journey {name!r}", err=True)
        raise typer.Exit(2)
    typer.echo(f"{name} is {'paused' if paused else 'active'}")


@app.command()
def why(person: Annotated[str, typer.Argument(metavar="PERSON", show_default=False,
                                              help="type:value, a user id, or a profile id")],
        journey: Annotated[str, typer.Argument(metavar="JOURNEY", show_default=False)], data: Data = None) -> None:
    """Say what a journey did for one person, and why, gate by gate; or why it did nothing."""
    from percorso_orchestrator.why import Why, tell, why_answer
    from percorso_services.profile_api.address import find_profile
    from percorso_services.profile_api.problems import NotFound
    from percorso_shared.clock import SystemClock
    from percorso_shared.control import WORKSPACE

    async def work(connection: Any) -> Why | None:
        profile = await find_profile(connection, WORKSPACE, person)
        return await why_answer(connection, WORKSPACE, profile, journey, SystemClock().now_ms())

    try:
        found = with_database(settings_with(data), work)
    except NotFound:
        typer.echo(f"percorso: nobody is known as {person!r}", err=True)
        raise typer.Exit(1) from None
    if found is None:
        typer.echo(f"percorso: there is no journey {journey!r}", err=True)
        raise typer.Exit(2)
    for line in tell(found):
        typer.echo(line)
