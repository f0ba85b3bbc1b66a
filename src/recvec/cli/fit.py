"""``recvec fit``: learn embeddings and keep them."""

import time
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

import recvec as rv
from recvec.artifact.store import check_free, histories_inside
from recvec.cli import options, output
from recvec.cli.reading import Tables, left_out, left_out_lines, reads_tables
from recvec.cli.training import checkpoints, record, say_where_it_began, timed_fit
from recvec.contract import Model
from recvec.types import Json

Out = Annotated[Path, typer.Option("--out", help="New folder for the model.")]
Rungs = Annotated[str, typer.Option("--rungs", help="'auto': a popular rung for people without history; 'none': the model alone.")]
Checkpoint = Annotated[Path | None, typer.Option("--checkpoint", help="Folder for checkpoints: a killed fit can go on.")]
Every = Annotated[int | None, typer.Option("--checkpoint-every", min=1, help="Epochs between checkpoints; 1 by default.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint, if there is one.")]
NoHistories = Annotated[bool, typer.Option("--no-histories", help="Save without what people know.")]


@reads_tables
def fit(
    interactions: options.Interactions,
    method: options.MethodName,
    out: Out,
    tables: Tables,
    rungs: Rungs = "auto",
    checkpoint: Checkpoint = None,
    every: Every = None,
    resume: Resume = False,
    no_histories: NoHistories = False,
    task: options.Task = None,
    settings: options.Set = None,
    seed: options.Seed = 0,
    threads: options.ThreadCount = None,
    device: options.Device = "cpu",
    json_file: options.JsonFile = None,
) -> None:
    """Learn embeddings from a table of interactions and save them with all that recommending needs."""
    if rungs not in ("auto", "none"):
        raise rv.InputError(f"--rungs is '{rungs}'; allowed: auto, none")
    recipe, runtime = rv.method(method, task=task, settings=options.pairs(settings)), rv.Runtime(threads=threads, device=device)
    if no_histories and recipe.holds_histories:
        raise histories_inside(recipe)
    check_free(out)
    output.check_file(json_file)
    kept, found = checkpoints(recipe, seed, out, folder=checkpoint, every=every, resume=resume)
    data, read_seconds = _read(tables, interactions)
    with kept or nullcontext():
        model, seconds, epoch_seconds = timed_fit(recipe, data, seed, runtime, kept, found)
        rv.save(rv.Recommender(model, data, rungs={} if rungs == "none" else None, runtime=runtime), out, histories=not no_histories)
        if kept is not None:
            kept.clear()
    content = record(model, seconds, seed, runtime) | {"read_seconds": read_seconds, "epoch_seconds": [*epoch_seconds]}
    output.write_json({**content, **_learned(data, model), "resumed_after_epoch": 0 if found is None else found.epoch}, json_file)
    if resume:
        say_where_it_began(checkpoint, found)
    memory = f"peak {content['peak_memory_mb']:,.0f} MB"
    output.say(f"{method}: {_sizes(data)}; fitted in {seconds:.1f} s, {memory}; saved to {out}")
    for line in (*left_out_lines(data), *model.notes):
        output.say(line)


def _read(tables: Tables, interactions: Path) -> tuple[rv.Dataset, float]:
    """Return the data and the seconds that reading took."""
    started = time.perf_counter()
    return tables.read(interactions), time.perf_counter() - started


def _learned(data: rv.Dataset, model: Model) -> dict[str, Json]:
    sizes: dict[str, Json] = {"n_users": data.n_users, "n_items": data.n_items, "n_interactions": len(data.interactions)}
    return {**sizes, "left_out": left_out(data), "notes": [*model.notes], "curve": [dict(point) for point in model.curve]}


def _sizes(data: rv.Dataset) -> str:
    return f"{len(data.interactions):,} interactions, {data.n_users:,} users, {data.n_items:,} items"
