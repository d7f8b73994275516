"""percorso journey"""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="What happens after which touchpoints: test, publish and explain journeys.",
                  no_args_is_help=True)
Where = Annotated[Path, typer.Argument(metavar="DIR_OR_FILE", exists=True, show_default=False)]


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
