"""``recvec evaluate``: fit on one part, measure on the other."""

from pathlib import Path
from typing import Annotated

import typer

import recvec as rv
from recvec.cli import options, output
from recvec.cli.reading import Tables, left_out, left_out_lines, reads_tables
from recvec.cli.training import record, timed_fit


@reads_tables
def evaluate(
    interactions: options.Interactions,
    method: options.MethodName,
    tables: Tables,
    protocol: Annotated[str, typer.Option("--protocol", help="random or leave-last-out; not used with --test.")] = "leave-last-out",
    test: Annotated[Path | None, typer.Option("--test", help="Test rows; everything in INTERACTIONS is training part.")] = None,
    negatives: Annotated[
        Path | None, typer.Option("--negatives", help="user_id, negative_item_id: rank among these instead of all.")
    ] = None,
    test_share: Annotated[float, typer.Option("--test-share", help="Share of test rows of the protocol 'random'.")] = 0.1,
    k: Annotated[str, typer.Option("--k", help="Lengths of the lists, such as 10,20.")] = "10",
    task: options.Task = "ranking",
    settings: options.Set = None,
    seed: options.Seed = 0,
    threads: options.ThreadCount = None,
    device: options.Device = "cpu",
    json_file: options.JsonFile = None,
) -> None:
    """Fit a method on the training part and measure it on the test part, with 95 % bootstrap intervals."""
    lengths = options.lengths(k)
    recipe = rv.method(method, task=task, settings=options.pairs(settings))
    runtime = rv.Runtime(threads=threads, device=device)
    output.check_file(json_file)
    data = tables.read(interactions)
    split = rv.split(data, protocol, seed=seed, test_share=test_share, test=test, negatives=negatives)
    model, seconds = timed_fit(recipe, split.train, seed, runtime)
    result = rv.evaluate(model, split, k=lengths, task=task, runtime=runtime)
    content = {**record(model, seconds, seed, runtime), **result.json(), "left_out": left_out(data)}
    output.write_json(content, json_file)
    output.show(result.frame(), str(result).splitlines()[0])
    for line in left_out_lines(data):
        output.remark(line)
