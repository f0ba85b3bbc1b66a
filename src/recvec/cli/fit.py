"""``recvec fit``: learn embeddings and keep them."""

from pathlib import Path
from typing import Annotated

import typer

import recvec as rv
from recvec.artifact.store import check_free
from recvec.cli import options, output
from recvec.cli.reading import Tables, left_out, left_out_lines, reads_tables
from recvec.cli.training import record, timed_fit
from recvec.types import Json


@reads_tables
def fit(
    interactions: options.Interactions,
    method: options.MethodName,
    out: Annotated[Path, typer.Option("--out", help="New folder for the model.")],
    tables: Tables,
    rungs: Annotated[
        str, typer.Option("--rungs", help="'auto': a popular rung for people without history; 'none': the model alone.")
    ] = "auto",
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
    check_free(out)
    output.check_file(json_file)
    data = tables.read(interactions)
    model, seconds = timed_fit(recipe, data, seed, runtime)
    rv.save(rv.Recommender(model, data, rungs={} if rungs == "none" else None, runtime=runtime), out)
    sizes: dict[str, Json] = {"n_users": data.n_users, "n_items": data.n_items, "n_interactions": len(data.interactions)}
    curve: list[Json] = [dict(point) for point in model.curve]
    content = {**record(model, seconds, seed, runtime), **sizes, "left_out": left_out(data), "curve": curve}
    output.write_json(content, json_file)
    output.say(
        f"{method}: {len(data.interactions):,} interactions, {data.n_users:,} users, {data.n_items:,} items; "
        f"fitted in {seconds:.1f} s, peak {content['peak_memory_mb']:,.0f} MB; saved to {out}"
    )
    for line in left_out_lines(data):
        output.say(line)
