"""``recvec update``: a saved model that has met new interactions."""

from pathlib import Path
from typing import Annotated

import typer

import recvec as rv
from recvec.artifact.store import check_free
from recvec.cli import options, output
from recvec.cli.reading import Tables, reads_tables


@reads_tables
def update(
    folder: options.ModelFolder,
    interactions: options.Interactions,
    out: Annotated[Path, typer.Option("--out", help="New folder for the updated model.")],
    tables: Tables,
    against_refit: Annotated[
        bool, typer.Option("--against-refit", help="Also fit again, with one new pair of some users hidden, and ask both for it.")
    ] = False,
    seed: options.Seed = 0,
    threads: options.ThreadCount = None,
    json_file: options.JsonFile = None,
) -> None:
    """Bring a saved model up to date with new interactions, and say what they have changed; the old model stays."""
    runtime = rv.Runtime(threads=threads)
    check_free(out)
    output.check_file(json_file)
    who = rv.load(folder)
    who.runtime = runtime
    now, report = who.update(
        interactions, users=tables.users, items=tables.items, reading=tables.reading, against_refit=against_refit, seed=seed
    )
    rv.save(now, out)
    output.write_json(report.json(), json_file)
    output.show(report.frame(), f"{report.method}, updated and saved to {out}")
