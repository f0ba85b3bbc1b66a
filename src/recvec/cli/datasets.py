"""``recvec datasets``: public data sets, listed, or downloaded and converted to tables."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

import recvec as rv
from recvec.cli import output
from recvec.data import sources


def datasets(
    name: Annotated[str | None, typer.Argument(help="A data set to download; all are listed without it.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="New folder for its tables.")] = None,
    from_file: Annotated[Path | None, typer.Option("--from", help="A zip from elsewhere; nothing is downloaded then.")] = None,
    base_url: Annotated[
        str, typer.Option("--base-url", envvar="RECVEC_DATASETS_URL", help="A mirror that has NAME.zip and NAME.zip.md5.")
    ] = sources.GROUPLENS,
) -> None:
    """List public data sets with their sizes as published, or download one, compare it with its published MD5 and convert it."""
    if name is None:
        if out is not None or from_file is not None:
            raise typer.BadParameter("--out and --from need the name of a data set, such as ml-1m")
        output.show(rv.datasets(), "MovieLens, as published by GroupLens")
        return
    if out is None:
        raise typer.BadParameter(f"'{name}' needs --out, such as --out {name}")
    try:
        with _bar() as progress:
            page = rv.download(name, out, from_file=from_file, base_url=base_url, progress=progress)
    except KeyboardInterrupt:
        part, kept = sources.interrupted(out)
        if not kept:
            raise
        raise output.Stopped(f"stopped; {part} keeps {kept / 1e6:.1f} MB, and the same command goes on from there") from None
    _report(page, out)


def _report(page: dict[str, Any], out: Path) -> None:
    rows = ", ".join(f"{n:,} {what}" for what, n in page["rows"].items())
    against = page["md5_compared_with"]
    checked = f"MD5 as in {against}" if against else "MD5 not compared: no .md5 file lies beside the zip"
    output.say(f"{page['name']}: {rows}; {checked}; saved to {out}")
    output.say(f"Terms: {page['licence']}; see {out / 'README.txt'}")
    output.say(f"Cite: {page['citation']}")


@contextmanager
def _bar() -> Iterator[sources.OnProgress]:
    """Show bytes and speed on a terminal (on stderr, so that a pipe stays clean)."""
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(),
        console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty(),
    )  # fmt: skip
    with bar:
        task = bar.add_task("connecting", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)
