"""The command line: one file per group of commands, one door for errors."""

import signal
import sys
from typing import Any

import typer

import recvec as rv
from recvec.cli import output
from recvec.cli.demo import demo
from recvec.cli.evaluate import evaluate
from recvec.cli.fit import fit
from recvec.cli.methods import methods
from recvec.cli.recommend import recommend, similar

app = typer.Typer(
    name="recvec",
    help="Learn user and item embeddings for recommender systems, measure them honestly, and recommend with them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (demo, fit, evaluate, recommend, similar, methods):
    app.command()(command)


_UsageError: type[Exception] = typer.BadParameter.__mro__[1]  # click's, wherever this version of typer keeps it
_STOPPED = 128 + signal.SIGINT


@app.callback(invoke_without_command=True)
def _options(version: bool = typer.Option(False, "--version", help="Show the version and leave.")) -> None:
    if version:
        output.say(rv.__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 bad input (one line on stderr), 2 wrong usage, 130 stopped by Ctrl-C."""
    output.prepare()
    try:
        if app(standalone_mode=False) == _STOPPED:  # how typer hands a Ctrl-C on
            raise KeyboardInterrupt
    except rv.RecvecError as error:
        _leave(str(error), 1)
    except MemoryError:
        _leave("out of memory; use a smaller embedding_dim, fewer rows, or a larger machine", 1)
    except OSError as error:
        _leave(f"{error.filename or 'standard output'}: {error.strerror or error}; free space, or check the path and its rights", 1)
    except _UsageError as error:
        _leave_usage(error)
    except (KeyboardInterrupt, typer.Abort):
        _leave("stopped; nothing is left half-written", _STOPPED)


def _leave_usage(error: Any) -> None:
    """Leave with 2: one line and where to look, or the help that was asked for by giving nothing."""
    command = error.ctx.command_path if error.ctx else "recvec"
    if len(sys.argv) < 2:
        raise SystemExit(2)  # the help is on the screen
    _leave(f"{error.format_message().rstrip('.')}; see '{command} --help'", 2)


def _leave(line: str, code: int) -> None:
    if sys.stderr is not None:  # closed by the shell (2>&-)
        print("recvec: " + output.plain(" ".join(line.split("\n"))), file=sys.stderr)
    raise SystemExit(code)
