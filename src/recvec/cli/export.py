"""``recvec export``: the vectors of a saved model for other programs, or the model without what people know."""

from pathlib import Path
from typing import Annotated

import typer

import recvec as rv
from recvec.artifact import manifest
from recvec.artifact.export import FORMATS, check_free_file, check_words
from recvec.artifact.export import export as write
from recvec.artifact.store import check_free, refuse_histories_inside
from recvec.cli import options, output


def export(
    folder: options.ModelFolder,
    to: Annotated[str, typer.Option("--to", help="parquet, word2vec, numpy, or model.")],
    out: Annotated[Path, typer.Option("--out", help="New file (new folder for --to model); FILE.json beside it says what is in it.")],
    what: Annotated[str, typer.Option("--what", help="users, items or both.")] = "both",
    no_histories: Annotated[bool, typer.Option("--no-histories", help="With --to model: leave out what people know.")] = False,
) -> None:
    """Write user and item vectors for other programs, or a copy of the model without what people know."""
    if (to == "model") != no_histories:
        advice = "add --no-histories, or copy the folder" if to == "model" else "vectors have no histories; leave it out"
        raise rv.InputError(f"--to {to} is given {'without' if to == 'model' else 'with'} --no-histories; {advice}")
    if to == "model":
        if what != "both":
            raise rv.InputError(f"--what is '{what}' with --to model; allowed: both; leave it out")
        check_free(out)
        who = rv.load(folder)
        refuse_histories_inside(who)
        rv.save(who, out, metrics=manifest.read(folder)["metrics"], histories=False)
        output.say(f"{who.model.method.name} without histories saved to {out}")
        return
    if to not in FORMATS:
        raise rv.InputError(f"--to is '{to}'; allowed: {', '.join(FORMATS)}, model")
    check_words(to, what)
    check_free_file(out)
    who = rv.load(folder)
    write(who, out, to, what=what)  # type: ignore[arg-type]
    sizes = {"users": len(who.users), "items": len(who.items)}
    said = " and ".join(f"{n:,} {side}" for side, n in sizes.items() if what in ("both", side))
    output.say(f"{who.model.method.name}: vectors of {said} written to {out}; {out.name}.json says what they are")
