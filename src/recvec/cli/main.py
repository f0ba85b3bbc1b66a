"""The command line: one file per group of commands, one door for errors."""

import os
import signal
import sys

import typer

import recvec as rv
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


@app.callback(invoke_without_command=True)
def _options(version: bool = typer.Option(False, "--version", help="Show the version and leave.")) -> None:
    if version:
        print(rv.__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 bad input (one line on stderr), 2 wrong usage, 130 stopped by Ctrl-C."""
    try:
        app()
    except rv.RecvecError as error:
        _leave(f"recvec: {error}", 1)
    except MemoryError:
        _leave("recvec: out of memory; use a smaller embedding_dim, fewer rows, or a larger machine", 1)
    except KeyboardInterrupt:
        _leave("recvec: stopped; nothing was written", 128 + signal.SIGINT)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has left: not an error


def _leave(line: str, code: int) -> None:
    print(" ".join(line.split("\n")), file=sys.stderr)
    raise SystemExit(code)
