"""The shell: thin verbs over :mod:`latentscape.experiment` and :mod:`latentscape.workshop`.

Verbs are static and heavy imports are inside them, so that ``latentscape --help`` answers at once. Errors go to
standard error as one line, with exit code 2 (the request was wrong) or 1 (the work failed); ``--debug`` shows the
traceback. Every module of verbs enrols its own; the help lists them in the order in which they are imported here.
"""

import sys
import warnings
from collections.abc import Callable
from typing import Annotated, Any

import typer

# isort: off
from latentscape.cli import start  # noqa: F401
from latentscape.cli import make  # noqa: F401
from latentscape.cli import edit  # noqa: F401
from latentscape.cli import play  # noqa: F401
from latentscape.cli import listen  # noqa: F401
from latentscape.cli import measure  # noqa: F401

# isort: on
from latentscape.cli.options import INTERRUPTED, app, shown
from latentscape.core.errors import DataWarning, LatentscapeError, UsageError

MISTYPED: Any = typer.BadParameter.__mro__[1]
"""An unknown verb or option, or a value of the wrong type: the usage error of the click that this typer stands on."""


def _version(wanted: bool) -> None:
    if wanted:
        from latentscape import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="show tracebacks")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="print the version and stop", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Take the options of every verb."""


def _noted(show: Callable[..., None]) -> Callable[..., None]:
    """Return how warnings are shown: those of data as a line of ours, others as ever."""

    def line(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, DataWarning):
            typer.echo(f"note: {shown(str(message))}", err=True)
        else:
            show(message, category, *where, **more)

    return line


def main(arguments: list[str] | None = None) -> None:
    """Run the shell; exit with 0, 1 (the work failed), 2 (the request was wrong) or 130 (interrupted)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]  # accepted anywhere, as people type it last
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", DataWarning)
            warnings.showwarning = _noted(warnings.showwarning)
            code = app(arguments, standalone_mode=False, prog_name="latentscape")
    except LatentscapeError as error:
        if debug:
            raise
        hint = " (see `latentscape --help`)" if type(error) is UsageError else ""
        typer.echo(f"latentscape: {shown(' '.join(str(error).splitlines()))}{hint}", err=True)
        raise SystemExit(error.exit_code) from error
    except MISTYPED as error:
        if message := error.format_message():  # there is none where help was shown instead
            where = error.ctx.command_path if error.ctx else "latentscape"
            typer.echo(f"latentscape: {shown(message)} (see `{where} --help`)", err=True)
        raise SystemExit(error.exit_code) from error
    except OSError as error:  # a path that may not be looked at, for one
        if debug:
            raise
        typer.echo(f"latentscape: {shown(str(error.filename or 'a file'))}: {error.strerror or error}", err=True)
        raise SystemExit(1) from error
    except Exception as error:
        if debug:
            raise
        where = f"{type(error).__name__}: {error}".splitlines()[0]
        typer.echo(f"latentscape: internal error: {shown(where)} (run again with --debug to see where)", err=True)
        raise SystemExit(1) from error
    if code == INTERRUPTED:
        typer.echo("latentscape: interrupted", err=True)
    raise SystemExit(code or 0)
