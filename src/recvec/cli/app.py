"""The application: its commands, and which exit code each trouble has."""

import sys
from typing import Any

import typer

import recvec as rv
from recvec.cli import output
from recvec.cli.datasets import datasets
from recvec.cli.demo import demo
from recvec.cli.evaluate import evaluate
from recvec.cli.explain import explain
from recvec.cli.export import export
from recvec.cli.fit import fit
from recvec.cli.methods import methods
from recvec.cli.places import apart
from recvec.cli.recommend import recommend, similar
from recvec.cli.update import update

app = typer.Typer(
    name="recvec",
    help="Learn user and item embeddings for recommender systems, measure them honestly, and recommend with them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (demo, fit, update, evaluate, recommend, similar, explain, export, methods, datasets):
    app.command()(apart(command))


_UsageError: type[Exception] = typer.BadParameter.__mro__[1]  # click's, wherever this version of typer keeps it


@app.callback(invoke_without_command=True)
def _options(version: bool = typer.Option(False, "--version", help="Show the version and leave.")) -> None:
    if version:
        output.say(rv.__version__)
        raise typer.Exit


def run(stopped: int) -> tuple[int, str]:
    """Run the command that `sys.argv` names; return the exit code and, where something went wrong, one line that says what.

    Raises
    ------
    KeyboardInterrupt
        For Ctrl-C, which some versions of typer hand on as the exit code `stopped`.
    """
    output.prepare()
    try:
        code = app(prog_name="recvec", standalone_mode=False) or 0
    except rv.RecvecError as error:
        return 1, str(error)
    except output.Stopped as error:
        return stopped, str(error)
    except MemoryError:
        return 1, "out of memory; use a smaller embedding_dim, fewer rows, or a larger machine"
    except OSError as error:
        where = error.filename or "standard output"
        return 1, f"{where}: {error.strerror or error}; free space, or check the path and its rights"
    except _UsageError as error:
        return 2, _usage(error)
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    if code == stopped:
        raise KeyboardInterrupt
    return code, ""


def _usage(error: Any) -> str:
    """Return one line and where to look, or nothing where no command was given: then the help is on the screen."""
    if len(sys.argv) < 2:
        return ""
    command = error.ctx.command_path if error.ctx else "recvec"
    return f"{error.format_message().rstrip('.')}; see '{command} --help'"
