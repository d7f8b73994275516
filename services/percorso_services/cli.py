"""The command `percorso`. Only the module of the command that is asked for is imported."""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import typer

from percorso_shared.cannot_run import CannotRun
from percorso_shared.data_folder import reason_of

COMMANDS: tuple[tuple[str, str], ...] = (
    ("up", "up"),
    ("run", "run"),
    ("migrate", "migrate"),
    ("keys", "keys"),
    ("key", "key"),
    ("destination", "destination"),
    ("source", "source"),
    ("settings", "settings"),
    ("doctor", "doctor"),
    ("check", "check"),
    ("journey", "journey"),
    ("demo", "demo"),
)
"""(command, module of `percorso_services.commands`): a module has a group called `app`, or a function called as the
module."""


def main() -> None:
    """Exit code 0: done. 1: the thing checked is false. 2: wrong usage, or it cannot run."""
    os.umask(0o077)  # what we write is for this user only
    try:
        build(sys.argv[1:])()
    except CannotRun as error:
        sys.stderr.write(f"percorso: {error}\n")
        sys.exit(2)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.exit(141)
        where = f": {error.filename}" if error.filename else ""
        sys.stderr.write(f"percorso: {reason_of(error)}{where}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def build(arguments: Sequence[str]) -> typer.Typer:
    """The command line with the command that `arguments` ask for, or with all of them for the help."""
    app = typer.Typer(
        name="percorso", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
        help="Percorso: an event-streaming customer data platform.")
    wanted = next((word for word in arguments if not word.startswith("-")), None)
    known = dict(COMMANDS)
    for command, module in known.items():
        if command == wanted or (wanted not in known and "--version" not in arguments):
            _register(app, command, importlib.import_module(f"percorso_services.commands.{module}"))

    @app.callback()
    def percorso(version: bool = typer.Option(False, "--version", is_eager=True, callback=_show_version,
                                              help="Show the version and exit.")) -> None:
        """Percorso: an event-streaming customer data platform."""

    return app


def _register(app: typer.Typer, command: str, module: Any) -> None:
    group = getattr(module, "app", None)
    if isinstance(group, typer.Typer):
        app.add_typer(group, name=command)
    else:
        app.command(command)(getattr(module, command))


def _show_version(asked: bool) -> None:
    if asked:
        from percorso_services.version import VERSION
        typer.echo(f"percorso {VERSION}")
        raise typer.Exit


if __name__ == "__main__":
    main()
