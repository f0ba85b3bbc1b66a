"""``recvec evaluate``: fit on one part and measure on the other, or measure a saved model."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

import recvec as rv
from recvec.artifact.store import check_free
from recvec.cli import options, output, walks
from recvec.cli.reading import Tables, left_out, left_out_lines, reads_tables
from recvec.cli.training import record, setting, timed_fit
from recvec.contract import Method, Model
from recvec.data.protocols import ALL_FOLDS, N_PARTS, PROTOCOLS
from recvec.evaluation.placebo import check_attributes
from recvec.retrieval.graph_walk import GraphWalk
from recvec.types import Json

MethodName = Annotated[str | None, typer.Option("--method", help="Method by name; 'recvec methods' lists them.")]
Table = Annotated[Path, typer.Argument(help="Table of interactions, or the folder of a saved model (then with --test).")]
Protocol = Annotated[str, typer.Option("--protocol", help=f"{', '.join(PROTOCOLS)}; not used with --test.")]
Folds = Annotated[int | None, typer.Option("--folds", help="Ask about each of so many parts in turn, and pool the users.")]
Test = Annotated[Path | None, typer.Option("--test", help="Test rows; everything in INTERACTIONS is training part.")]
Negatives = Annotated[Path | None, typer.Option("--negatives", help="user_id, negative_item_id: rank among these instead of all.")]
TestShare = Annotated[float, typer.Option("--test-share", help="Share of test rows of the protocols 'random' and 'time'.")]
Lengths = Annotated[str, typer.Option("--k", help="Lengths of the lists, such as 10,20.")]
Seeds = Annotated[int, typer.Option("--seeds", min=1, help="Fit with so many seeds, from --seed on; intervals hold their noise.")]
Placebo = Annotated[bool, typer.Option("--placebo", help="Fit again with 20 shuffles of the attributes: do they help?")]
Diversity = Annotated[float, typer.Option("--diversity", help="Measure lists re-ranked with this diversity as well: 0 to 1.")]
Save = Annotated[Path | None, typer.Option("--save", help="New folder for the model of the training part.")]


@reads_tables
def evaluate(
    interactions: Table,
    tables: Tables,
    method: MethodName = None,
    protocol: Protocol = "leave-last-out",
    folds: Folds = None,
    test: Test = None,
    negatives: Negatives = None,
    test_share: TestShare = 0.1,
    k: Lengths = "10",
    seeds: Seeds = 1,
    placebo: Placebo = False,
    diversity: Diversity = 0.0,
    save: Save = None,
    task: options.Task = None,
    retrieval: walks.Retrieval = "exact",
    walk: walks.Walk = None,
    settings: options.Set = None,
    seed: options.Seed = 0,
    threads: options.ThreadCount = None,
    device: options.Device = "cpu",
    json_file: options.JsonFile = None,
) -> None:
    """Fit a method on the training part and measure it on the test part, with 95 % bootstrap intervals."""
    lengths, runtime = options.lengths(k), rv.Runtime(threads=threads, device=device)
    wander = walks.given(retrieval, walk)
    output.check_file(json_file)
    walks.refuse_unused(wander, method, interactions, folds=folds, seeds=seeds, placebo=placebo, save=save)
    if method is None and (wander is None or interactions.is_dir()):
        _refuse_fitting(interactions, test, protocol=protocol, folds=folds, seeds=seeds, placebo=placebo, save=save, set=settings)
        _deliver(*_of_saved(interactions, tables, test, negatives, lengths, diversity, runtime, wander), json_file)
        return
    recipe = None if method is None else rv.method(method, task=task, settings=options.pairs(settings))
    data = _data(tables, interactions, save, with_attributes=placebo)
    splits = _splits(data, protocol, folds, seed, test_share, test, negatives)
    if wander is not None:
        _deliver(*_of_walk(wander, recipe, splits, lengths, diversity, seed, runtime), json_file, beside=left_out_lines(data))
        return
    _of_fits(recipe, data, splits, lengths, diversity, range(seed, seed + seeds), runtime, save, placebo, json_file)


def _of_fits(
    recipe: Any,
    data: rv.Dataset,
    splits: Sequence[rv.Split],
    lengths: list[int],
    diversity: float,
    seeds: range,
    runtime: rv.Runtime,
    save: Path | None,
    placebo: bool,
    json_file: Path | None,
) -> None:
    """Fit on every split with every seed, measure, and deliver."""
    fits = _Fits(recipe, runtime)
    how: Any = {"runtime": runtime, "fit": fits}
    result = rv.cross_validate(recipe, splits, k=lengths, seeds=seeds, diversity=diversity, **how)
    content = {**record(fits.first, fits.seconds / fits.n, seeds.start, runtime), "left_out": left_out(data)}
    if save is not None:
        rv.save(rv.Recommender(fits.first, splits[0].train, runtime=runtime), save, metrics=result.metrics)
    content["notes"] = [*fits.first.notes]
    beside = (*left_out_lines(data), *fits.first.notes)
    _deliver(result, content, json_file, rv.placebo(recipe, splits, result, seed=seeds.start, **how) if placebo else None, beside)


def _of_walk(
    walk: GraphWalk, recipe: Method | None, splits: Sequence[rv.Split], lengths: list[int], diversity: float, seed: int, runtime: rv.Runtime
) -> tuple[Any, Any]:
    """Measure walks over the training part, of their own or over what a method finds."""
    if len(splits) > 1:
        raise rv.InputError("walks are measured on one split, and this protocol asks about several parts; give another --protocol")
    if recipe is None:
        result, content = walks.measured(walk, splits[0], lengths, diversity, runtime)
        return result, {**content, **setting(runtime)}
    fitted = timed_fit(recipe, splits[0].train, seed, runtime)
    result, content = walks.measured(walk, splits[0], lengths, diversity, runtime, fitted.model)
    return result, {**record(fitted.model, fitted.seconds, seed, runtime), **content, "candidates_from": recipe.name}


def _data(tables: Tables, interactions: Path, save: Path | None, *, with_attributes: bool) -> rv.Dataset:
    """Read the tables, where the place of the model is free; refuse a placebo of nothing before any fit."""
    if save is not None:
        check_free(save)
    data = tables.read(interactions)
    if with_attributes:
        check_attributes(data)
    return data


class _Fits:
    """Fits with a progress bar, and what is recorded of them: the first model, the number of fits, their time."""

    first: Model

    def __init__(self, recipe: Method, runtime: rv.Runtime) -> None:
        self.recipe, self.runtime = recipe, runtime
        self.n, self.seconds = 0, 0.0

    def __call__(self, data: rv.Dataset, seed: int) -> Model:
        fitted = timed_fit(self.recipe, data, seed, self.runtime)
        if not self.n:
            self.first = fitted.model
        self.n, self.seconds = self.n + 1, self.seconds + fitted.seconds
        return fitted.model


def _splits(
    data: rv.Dataset, protocol: str, folds: int | None, seed: int, test_share: float, test: Path | None, negatives: Path | None
) -> Sequence[rv.Split]:
    """Return the one split, or the folds where they are asked for or are what the protocol does."""
    if test is not None and folds is not None:
        raise rv.InputError("--folds cuts the table, --test brings a test part; give one of the two")
    if test is None and (folds is not None or protocol in ALL_FOLDS):
        return rv.folds(data, protocol, N_PARTS if folds is None else folds, seed=seed, negatives=negatives)
    return [rv.split(data, protocol, seed=seed, test_share=test_share, test=test, negatives=negatives)]


def _refuse_fitting(folder: Path, test: Path | None, **given: Any) -> None:
    """Refuse what only makes sense with a fit, for a model that is there already."""
    if not folder.is_dir():
        raise rv.InputError(f"{folder} is measured with a method; give --method, or the folder of a saved model")
    if test is None:
        raise rv.InputError("a saved model is measured on a test table; give --test FILE")
    usual = {"protocol": "leave-last-out", "seeds": 1}
    for name, value in given.items():
        if value and value != usual.get(name):
            raise rv.InputError(f"--{name} needs a fit, and {folder} is a saved model; leave it out, or give a table and --method")


def _of_saved(
    folder: Path,
    tables: Tables,
    test: Path | None,
    negatives: Path | None,
    lengths: list[int],
    diversity: float,
    runtime: rv.Runtime,
    walk: GraphWalk | None,
) -> tuple[Any, Any]:
    """Measure a saved model; return the result and what is recorded of it."""
    who = rv.load(folder)
    known = replace(who.train, merged=who.histories, reading=tables.reading)  # a model saved without histories says so here
    split = rv.split(known, test=test, negatives=negatives)
    if walk is not None:
        result, content = walks.measured(walk, split, lengths, diversity, runtime, who.model)
        return result, {**content, **setting(runtime)}
    result = rv.evaluate(who.model, split, k=lengths, diversity=diversity, runtime=runtime)
    return result, {"hyperparameters": who.model.method.recipe, **setting(runtime)}


def _deliver(
    result: rv.Evaluation, content: dict[str, Json], json_file: Path | None, shuffled: Any = None, beside: Sequence[str] = ()
) -> None:
    more = {} if shuffled is None else {"placebo": shuffled.json()}
    output.write_json({**content, **result.json(), **more}, json_file)
    output.show(result.frame(), result.title)
    if output.on_terminal():  # one table in a pipe; the file of --json has the rest as well
        output.show(result.slices, "parts of people and items")
    if shuffled is not None:
        (output.say if output.on_terminal() else output.warn)(str(shuffled))  # who waits for it gets it, and a pipe stays one table
    for line in beside:
        output.warn(line)
