"""``recvec fit``: learn embeddings and keep them."""

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

import recvec as rv
from recvec.artifact.checkpoint import Found
from recvec.artifact.store import check_free, histories_inside
from recvec.cli import options, output
from recvec.cli.training import checkpoints, record, say_where_it_begins, timed_fit
from recvec.contract import Model
from recvec.types import Json


def fit(
    interactions: options.Interactions,
    method: options.MethodName,
    out: Annotated[Path, typer.Option("--out", help="New folder for the model.")],
    users: options.Users = None,
    items: options.Items = None,
    rungs: Annotated[
        str, typer.Option("--rungs", help="'auto': a popular rung for people without history; 'none': the model alone.")
    ] = "auto",
    checkpoint: Annotated[Path | None, typer.Option("--checkpoint", help="Folder for checkpoints: a killed fit can go on.")] = None,
    every: Annotated[int | None, typer.Option("--checkpoint-every", min=1, help="Epochs between checkpoints; 1 by default.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint, if there is one.")] = False,
    no_histories: Annotated[bool, typer.Option("--no-histories", help="Save without what people know.")] = False,
    task: options.Task = "ranking",
    settings: options.Set = None,
    seed: options.Seed = 0,
    threads: options.ThreadCount = None,
    device: options.Device = "cpu",
    json_file: options.JsonFile = None,
) -> None:
    """Learn embeddings from a table of interactions and save them with all that recommending needs."""
    if rungs not in ("auto", "none"):
        raise rv.InputError(f"--rungs is '{rungs}'; allowed: auto, none")
    recipe = rv.method(method, task=task, settings=options.pairs(settings))
    runtime = rv.Runtime(threads=threads, device=device)
    if no_histories and recipe.holds_histories:
        raise histories_inside(recipe)
    check_free(out)
    output.check_file(json_file)
    kept, found = checkpoints(recipe, seed, out, folder=checkpoint, every=every, resume=resume)
    data = rv.read(interactions, users=users, items=items)
    say_where_it_begins(checkpoint if resume else None, found)
    with kept or nullcontext():
        model, seconds = timed_fit(recipe, data, seed, runtime, kept, found)
        rv.save(rv.Recommender(model, data, rungs={} if rungs == "none" else None, runtime=runtime), out, histories=not no_histories)
        if kept is not None:
            kept.clear()
    content = {**record(model, seconds, seed, runtime), **_fitted(model, data, found)}
    output.write_json(content, json_file)
    output.say(f"{method}: {_said(content)}; saved to {out}")


def _said(content: Mapping[str, Json]) -> str:
    sizes = ", ".join(f"{content[f'n_{what}']:,} {what}" for what in ("interactions", "users", "items"))
    return f"{sizes}; fitted in {content['fit_seconds']:.1f} s, peak {content['peak_memory_mb']:,.0f} MB"


def _fitted(model: Model, data: rv.Dataset, found: Found | None) -> dict[str, Json]:
    """Return sizes, where the fit began, and its learning curve."""
    return {
        "n_users": data.n_users,
        "n_items": data.n_items,
        "n_interactions": len(data.interactions),
        "resumed_after_epoch": 0 if found is None else found.epoch,
        "curve": [dict(point) for point in model.curve],
    }
